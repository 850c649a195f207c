"""The page of the state table, and the refusals, name only what the API serves."""

from api.routes.base import PREFIX
from billing.money.subscriptions.states import ROUTES, TABLE, takes
from cli.state_table import render
from devstack.options import ROOT
from tests.api_document import DOCUMENT


def test_the_page_of_the_state_table_is_the_codes_own() -> None:
    page = ROOT / "docs" / "subscription-states.md"
    assert page.read_text() == render(), "run: billing states > docs/subscription-states.md"


def test_each_route_on_the_page_is_there() -> None:
    paths = DOCUMENT["paths"]
    for route, _ in ROUTES.values():
        method, path = route.split()
        assert method.lower() in paths[f"{PREFIX}{path}"]


def test_a_refusal_names_only_commands_with_a_route() -> None:
    paths = DOCUMENT["paths"]
    for state in TABLE:
        assert takes(state), "every state can be left, or started from anew"
        for command in takes(state):
            method, path = ROUTES[command][0].split()
            assert method.lower() in paths[f"{PREFIX}{path}"], (state, command)


def test_an_incomplete_subscription_names_what_can_be_done_with_it() -> None:
    assert takes("incomplete") == ["subscribe", "cancel", "pay", "card"]
    begins = ["change_up", "change_down", "cancel", "reactivate"]
    assert takes("active") == [*begins, "pause", "extend", "coupon", "card"]
    assert takes("trialing") == [*begins, "extend", "coupon", "card"]
    assert takes("unpaid") == ["cancel", "reactivate", "pay", "card"]
    assert takes("paused") == [*begins, "resume", "pay", "card"]
    assert takes("canceled") == ["subscribe"]
