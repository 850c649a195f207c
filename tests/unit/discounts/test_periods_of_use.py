"""A coupon is off as many periods as it has, however their use is billed."""

from typing import Any, Final

import pytest

from billing.money.discounts.schemas import Discount
from billing.money.invoices.schemas import InvoiceLine
from billing.money.subscriptions.periods import invoicing
from tests.unit.worked.player import Player

HALF: Final = {"code": "HALF", "percent": 50, "kinds": ["usage"]}


def player(interval: str, **coupon: Any) -> Player:
    case = {
        "currency": "USD",
        "zone": "UTC",
        "plans": {"pro": {"month": 10000, "year": 100000}, "basic": {"month": 5000}},
        "terms": {"pro": {"add_ons": {"more": {"units": 100, "minor": 800}}}},
        "price": {"unit_price": "10"},
        "coupons": [HALF | coupon],
        "start": {"at": "2027-01-01T00:00:00Z", "plan": "pro", "interval": interval},
    }
    return Player(case)


def months(player: Player, *used: bool, early: bool = False) -> str:
    """Live these months, with use or without; return H for each whose use was billed by half."""
    return "".join(_month(player, early=early) if one else _idle(player) for one in used)


def _month(player: Player, *, early: bool) -> str:
    _use(player)
    if early:
        _bill_early(player)
    start = player.subscription.cycle_start
    _close(player)
    (line,) = [one for one in _used(player) if one.period_start == start]
    return "H" if line.discount_minor * 2 == line.amount_minor else "."


def _idle(player: Player) -> str:
    _close(player)
    return "-"


def _use(player: Player) -> None:
    player.play({"at": player.subscription.cycle_start.isoformat(), "use": [2]})


def _bill_early(player: Player) -> None:
    key = f"early-{player.now}"
    player.do(lambda w: invoicing.bill_usage(w, key, invoicing.EARLY))
    player.pay()


def _close(player: Player) -> list[InvoiceLine]:
    now = player.subscription
    ends = "renews" if now.cycle_end == now.current_period_end else "cycle"
    return player.play({"at": now.cycle_end.isoformat(), ends: True})


def _used(player: Player) -> list[InvoiceLine]:
    return [one for one in player.rows.of(InvoiceLine) if one.kind == "usage"]


def status(player: Player) -> str:
    (one,) = player.rows.of(Discount)
    return one.status


@pytest.mark.parametrize("early", [False, True], ids=["at the end", "early"])
@pytest.mark.parametrize("periods", [1, 2])
def test_of_a_month(periods: int, early: bool) -> None:
    monthly = player("month", periods=periods)
    seen = months(monthly, *[True] * 4, early=early)
    assert seen == "H" * periods + "." * (4 - periods)
    assert status(monthly) == "ended"


@pytest.mark.parametrize("periods", [1, 2])
def test_of_a_year_whose_use_is_billed_each_month(periods: int) -> None:
    yearly = player("year", periods=periods)
    assert months(yearly, *[True] * 37) == "H" * 12 * periods + "." * (37 - 12 * periods)


def test_of_a_year_without_use_at_its_end() -> None:
    yearly = player("year", periods=1)
    assert months(yearly, *[True] * 11, False, True) == "H" * 11 + "-."
    assert status(yearly) == "ended"


def test_of_the_first_period_that_has_any() -> None:
    assert months(player("month", periods=1), False, False, True, True) == "--H."
    assert months(player("year", periods=1), *[False] * 12, True, True) == "-" * 12 + "HH"


def test_a_period_that_leaves_nothing_to_reduce_uses_up_none_of_a_coupon() -> None:
    monthly = player("month", kinds=(), periods=2)
    first = {"code": "FIRST", "percent": 100, "kinds": ["plan"], "periods": 1}
    both = Player(monthly.case | {"coupons": [first, *monthly.case["coupons"]]})
    for _ in range(3):
        _close(both)
    off = [one.discount_minor for one in both.rows.of(InvoiceLine) if one.kind == "plan"]
    assert off == [10000, 5000, 5000, 0]


def test_of_use_that_comes_late() -> None:
    yearly = player("year", periods=1)
    assert months(yearly, *[True] * 12) == "H" * 12
    december = max(yearly.usage)
    known = yearly.usage[december]
    more = {"overage": known.overage + 1, "overage_total": known.overage_total + 10}
    yearly.usage[december] = known.model_copy(update=more)
    _close(yearly)
    late = max(_used(yearly), key=lambda one: one.id)
    assert (late.period_start, late.amount_minor, late.discount_minor) == (december, 1000, 500)


@pytest.mark.parametrize("early", [False, True], ids=["at the end", "early"])
def test_a_period_counts_once_if_its_plan_and_then_its_use_had_it(early: bool) -> None:
    monthly = player("month", kinds=(), sold=["pro"], periods=3)
    _use(monthly)
    if early:
        _bill_early(monthly)
    _next_plan(monthly, "basic")
    _next_plan(monthly, "pro")
    for _ in range(2):
        _close(monthly)
    plans = [one for one in monthly.rows.of(InvoiceLine) if one.kind == "plan"]
    seen = [(one.amount_minor, one.discount_minor) for one in plans]
    half, full = (10000, 5000), (10000, 0)
    assert seen == [half, (5000, 0), half, half, full], "January, March and April"
    [used] = _used(monthly)
    assert used.discount_minor * 2 == used.amount_minor


def _next_plan(player: Player, key: str) -> None:
    change = {"plan": key, "when": "period_end"}
    player.play({"at": player.now.isoformat(), "change": change})
    _close(player)


def test_one_that_use_has_used_up_is_off_nothing_else_of_the_next_period() -> None:
    monthly = player("month", kinds=["usage", "add_on"], periods=1)
    assert months(monthly, True) == "H"
    more = {"add_ons": {"more": 1}}
    [bought] = monthly.play({"at": "2027-02-10T00:00:00Z", "change": more})
    assert (bought.kind, bought.discount_minor) == ("add_on", 0)
