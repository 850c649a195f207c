"""A change of plan keeps the add-ons that the new plan sells on the same terms."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from billing.money.subscriptions.schemas import Item
from tests.unit.worked.player import Player

EXTRA: Final = {"extra": {"units": 50, "minor": 900}}


def begun(before: dict[str, Any], after: dict[str, Any]) -> Player:
    """A monthly subscription with two pieces of an add-on, which both plans may sell."""
    player = Player(
        {
            "currency": "USD",
            "zone": "UTC",
            "plans": {"pro": {"month": 4900}, "enterprise": {"month": 9900}},
            "terms": {
                "pro": {"calls": 100, "add_ons": EXTRA},
                "enterprise": {"calls": 500, "add_ons": EXTRA},
            },
            "start": {"at": "2027-02-01T00:00:00Z", "plan": "pro", "interval": "month"},
        }
    )
    player.play({"at": "2027-02-02T00:00:00Z", "change": {"add_ons": {"extra": 2}}})
    for key, terms in (("pro", before), ("enterprise", after)):
        plan = player.plans[key]
        (add_on,) = plan.add_ons
        sold = (add_on.model_copy(update=terms),)
        player.plans[key] = plan.model_copy(update={"add_ons": sold})
    return player


def kept(player: Player) -> int:
    """The pieces that the next period has."""
    return sum(item.lasting for item in player.rows.of(Item) if item.add_on == "extra")


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ({}, {}, 2),
        ({}, {"prices": {"USD": 900, "EUR": 800}}, 2),
        ({"prices": {"USD": 900, "EUR": 700}}, {"prices": {"USD": 900, "EUR": 800}}, 2),
        ({}, {"name": "Extra calls"}, 2),
        ({}, {"prices": {"USD": 901}}, 0),
        ({}, {"prices": {"EUR": 900}}, 0),
        ({}, {"units": 49}, 0),
        ({"prices": {"USD": 901}}, {"prices": {"USD": 901}}, 0),
    ],
    ids=[
        "the same", "one more currency", "another price in another currency", "another name",
        "another price", "no price", "fewer units", "bought at an older price",
    ],
)  # fmt: skip
def test_the_terms_are_those_in_its_own_currency(
    before: dict[str, Any], after: dict[str, Any], pieces: int
) -> None:
    player = begun(before, after)
    player.play({"at": "2027-02-10T00:00:00Z", "change": {"plan": "enterprise"}})
    assert kept(player) == pieces
    assert player.now < datetime(2027, 3, 1, tzinfo=UTC)
