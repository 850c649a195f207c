"""Add-ons that a change removes are used while it waits for its payment."""

from decimal import Decimal
from typing import Any, Final

import pytest

from billing.money.invoices.schemas import Invoice, InvoiceLine
from billing.money.subscriptions.facts import Allowance
from tests.unit.worked.player import Player

EXTRA: Final = {"x": {"units": 100, "minor": 1000}, "y": {"units": 50, "minor": 1200}}
FIRST: Final = "2027-02-01T00:00:00Z"
SWAP: Final = {"add_ons": {"y": 1}, "when": "now"}


def begun(count: int = 1) -> Player:
    """A plan with 10 calls a month, and 100 more of each of so many add-ons."""
    player = Player(
        {
            "currency": "USD",
            "zone": "UTC",
            "plans": {"basic": {"month": 1000}, "more": {"month": 2500}, "fewer": {"month": 2500}},
            "terms": {
                "basic": {"calls": 10, "add_ons": EXTRA},
                "more": {"calls": 10, "add_ons": EXTRA},
                "fewer": {"calls": 5, "add_ons": EXTRA},
            },
            "start": {"at": FIRST, "plan": "basic", "interval": "month"},
        }
    )
    player.play({"at": FIRST, "change": {"add_ons": {"x": count}}})
    return player


def use(player: Player, included: int, used: int) -> None:
    """So many of the included calls are used."""
    units = Decimal(used)
    player.allowances = (
        Allowance(meter="calls", included=Decimal(included), used=units, quantity=units,
                  is_agreed=False),
    )  # fmt: skip


def used_meanwhile(player: Player) -> list[int]:
    return [one.amount_minor for one in player.rows.of(InvoiceLine) if one.kind == "used_meanwhile"]


def given(player: Player) -> int:
    """The whole units that add-ons give in the cycle."""
    return int(player.units)


@pytest.mark.parametrize(
    ("used", "billed", "units"),
    [
        # 50 of the 100 are given by the other add-on.
        (60, [], 50),
        (61, [10], 51),
        (100, [400], 90),
        (110, [500], 100),
    ],
)
def test_used_units_of_an_add_on_that_another_one_replaces_are_billed_and_stay(
    used: int, billed: list[int], units: int
) -> None:
    player = begun()
    player.ask({"at": FIRST, "change": SWAP})
    use(player, 110, used)
    player.paid(FIRST)
    assert (used_meanwhile(player), given(player)) == (billed, units)


def test_of_fewer_pieces_only_those_that_go_are_billed() -> None:
    player = begun(5)
    player.ask({"at": FIRST, "change": {"add_ons": {"x": 4, "y": 1}, "when": "now"}})
    use(player, 510, 500)
    player.paid(FIRST)
    # 40 of 100 units of one of the five, which were 5000.
    assert (used_meanwhile(player), given(player)) == ([400], 490)


@pytest.mark.parametrize(("plan", "share"), [("more", 0), ("fewer", 500)])
def test_a_change_of_plan_that_removes_them_bills_them_too(plan: str, share: int) -> None:
    """Beside the time of the plan, where the other one includes less."""
    player = begun()
    player.ask({"at": FIRST, "change": {"plan": plan, "add_ons": {}, "when": "now"}})
    use(player, 110, 60)
    player.used_share = Decimal("0.5")
    player.paid(FIRST)
    assert (sum(used_meanwhile(player)), given(player)) == (500 + share, 50)


def test_no_note_gives_used_ones_back_whose_invoice_was_not_paid_yet() -> None:
    player = begun()
    player.ask({"at": "2027-03-01T00:00:00Z", "renews": True})
    player.ask({"at": "2027-03-01T00:00:00Z", "change": SWAP})
    assert [one.amount_due_minor for one in player.rows.of(Invoice)[-2:]] == [2000, 1200]
    use(player, 110, 100)
    player.paid("2027-03-01T01:00:00Z")
    assert (used_meanwhile(player), player.balance) == ([], 600)


def test_time_of_the_plan_that_is_used_already_lowers_no_credit_of_an_add_on() -> None:
    player = begun(5)
    wish: dict[str, Any] = {"plan": "fewer", "add_ons": {"x": 4}, "when": "now"}
    player.play({"at": FIRST, "used": "0.5", "change": wish})
    # Half of the plan, and one of five add-ons.
    assert (player.due, given(player)) == (2500 - 500 - 1000, 400)
