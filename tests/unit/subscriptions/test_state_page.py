"""The page of the state table says what the code does."""

from api.app import create_app
from api.routes.base import PREFIX
from embedded.options import ROOT
from embedded.state_table import ROUTES, render
from tests.unit.api.conftest import lonely_settings


def test_the_page_of_the_state_table_is_the_codes_own() -> None:
    page = ROOT / "docs" / "subscription-states.md"
    assert page.read_text() == render(), "run: billing states > docs/subscription-states.md"


def test_each_route_on_the_page_is_there() -> None:
    paths = create_app(lonely_settings()).openapi()["paths"]
    for route, _ in ROUTES.values():
        method, path = route.split()
        assert method.lower() in paths[f"{PREFIX}{path}"]
