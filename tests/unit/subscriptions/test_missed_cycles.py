"""Cycles of a longer period that nobody began in time: their use is invoiced, and not charged in a
burst.
"""

from typing import Any

import pytest

from billing.money.invoices.schemas import Invoice
from tests.unit.worked.player import Player


def yearly(**start: Any) -> Player:
    """A year that is paid, with use beyond the plan in its last cycle."""
    return Player(
        {
            "currency": "USD", "zone": "UTC", "plans": {"pro": {"year": 48000}},
            "price": {"unit_price": "1"},
            "start": {"at": "2027-01-01T10:00:00Z", "plan": "pro", "interval": "year"} | start,
        }
    )  # fmt: skip


def reached(player: Player, at: str, *steps: str) -> list[str]:
    """The collection of what these steps invoice by then; there is use in each cycle."""
    before = {one.id for one in player.rows.of(Invoice)}
    for step in steps:
        player.ask({"at": at, "use": [10]})
        player.ask({"at": at, step: True})
    return [one.collection for one in player.rows.of(Invoice) if one.id not in before]


def test_the_use_of_several_missed_cycles_is_invoiced_and_charged_by_nobody() -> None:
    player = yearly()
    assert reached(player, "2027-03-15T10:00:00Z", "cycle", "cycle") == ["held", "held"]
    player.pay()
    assert reached(player, "2027-04-01T10:00:00Z", "cycle") == ["automatic"], "in time again"


def test_the_use_of_one_missed_cycle_is_charged_late() -> None:
    assert reached(yearly(), "2027-02-20T10:00:00Z", "cycle") == ["automatic"]


def test_a_cycle_that_was_missed_after_a_renewal_is_not_charged_beside_it() -> None:
    player = yearly()
    for number in range(2, 13):
        player.play({"at": f"2027-{number:02}-01T10:00:00Z", "cycle": True})
    seen = reached(player, "2028-03-10T10:00:00Z", "renews", "cycle", "cycle")
    assert seen == ["automatic", "held", "held"]


@pytest.mark.parametrize("steps", [["cycle"], ["cycle", "cycle"]])
def test_missed_cycles_are_sent_to_a_customer_who_pays_by_transfer(steps: list[str]) -> None:
    player = yearly(collection="send_invoice", days=30)
    assert set(reached(player, "2027-03-15T10:00:00Z", *steps)) == {"send_invoice"}
