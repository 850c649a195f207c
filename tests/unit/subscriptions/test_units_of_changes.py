"""The units of a cycle in which plans follow each other, also with one that limits nothing."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.core.money import round_minor
from billing.matters.effects import Work
from billing.money.subscriptions.facts import Allowance
from billing.money.subscriptions.periods import portions
from billing.money.subscriptions.schemas import SubscriptionChange
from tests.unit.worked.player import Player


def begun() -> Player:
    """A month of 30 days, with 500 calls."""
    return Player(
        {
            "currency": "USD",
            "zone": "UTC",
            "plans": {"basic": {"month": 1900}, "plain": {"month": 2900}, "pro": {"month": 4900}},
            "terms": {"basic": {"calls": 500}, "pro": {"calls": 5000}},
            "start": {"at": "2027-06-01T00:00:00Z", "plan": "basic", "interval": "month"},
        }
    )


def included(player: Player) -> int:
    """The calls that the plan of now includes, with those that all changes have moved."""
    (limit,) = player.plans[player.subscription.plan_key].limits
    moved = (part for one in player.rows.of(SubscriptionChange) for part in one.portions)
    units = limit.included + sum((one.units for one in moved if one.meter == "calls"), Decimal(0))
    return round_minor(units)


@pytest.mark.parametrize(
    ("sold", "used", "last", "units"),
    [
        # Thirds of 500 and of 5,000; where products sell calls, basic is paid for as long as its
        # calls were used.
        (("calls",), 0, "pro", 1833),
        (("calls",), 0, "basic", 333),
        (("calls",), 1, "pro", 2167),
        (("calls",), 1, "basic", 667),
        ((), 1, "pro", 1833),
        ((), 1, "basic", 333),
    ],
)
def test_a_plan_that_limits_nothing_in_between_forgets_no_units(
    sold: tuple[str, ...], used: int, last: str, units: int
) -> None:
    player = begun()
    player.sold_meters = sold
    there: dict[str, Any] = {"at": "2027-06-11T00:00:00Z", "used": used}
    player.play(there | {"change": {"plan": "plain", "when": "now"}})
    player.play({"at": "2027-06-21T00:00:00Z", "change": {"plan": last, "when": "now"}})
    assert included(player) == units


def test_units_of_use_while_a_change_to_no_limit_waits_are_there_in_the_next_plan() -> None:
    player = begun()
    player.sold_meters = ("calls",)
    player.ask({"at": "2027-06-11T00:00:00Z", "change": {"plan": "plain", "when": "now"}})
    player.used_share = Decimal("0.5")
    player.paid("2027-06-11T01:00:00Z")
    player.play({"at": "2027-06-21T00:00:00Z", "change": {"plan": "pro", "when": "now"}})
    assert included(player) == 250 + 1667, "a half of the cycle of basic is billed"


def test_units_of_a_level_that_stay_beyond_a_plan_are_rounded_as_in_sql() -> None:
    player = begun()
    level = Allowance(
        meter="calls", included=Decimal(500), used=Decimal(500), quantity=Decimal(501),
        is_agreed=False, highest=Decimal(501),
    )  # fmt: skip
    work = Work(player.rows, replace(player.facts(), allowances=(level,)))
    # 162 s of 30 days are 0.0000625 of them: Postgres rounds a half away from zero.
    at = player.now + timedelta(seconds=162)
    found = portions.stay_beyond(work, player.plans["pro"], 1, at)
    assert found == {"calls": Decimal("0.000063")}
