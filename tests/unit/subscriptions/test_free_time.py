"""Changes of a plan that costs nothing: no use of it renews its credits and units."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from billing.core.errors import Conflict
from billing.core.periods import MONTH
from billing.matters.effects import Work
from billing.money.subscriptions.facts import PlanLot
from billing.money.subscriptions.free_grants import FreeGrant
from billing.money.subscriptions.periods import free_time
from billing.money.subscriptions.schemas import SubscriptionChange
from tests.unit.worked.player import Player, instant

FREE: Final = {"code": "FREE", "percent": 100}
FIRST: Final = "2027-01-01T00:00:00Z"
# Of a used cycle, which no other one follows in its first second.
NEXT: Final = "2027-01-01T00:00:01Z"


def begun(plan: str, kept: int, unspent: int, **more: Any) -> Player:
    case = {
        "currency": "USD",
        "zone": "UTC",
        "plans": {
            "none": {"month": 0},
            "low": {"month": 1000, "year": 10000},
            "high": {"month": 3000, "year": 30000},
            "small": {"year": 5000},
        },
        "terms": {
            "none": {"credits": 50, "calls": 500},
            "low": {"credits": 100, "calls": 1000},
            "high": {"credits": 300, "calls": 3000},
            "small": {"credits": 50, "calls": 500},
        },
        "start": {"at": FIRST, "plan": plan, "interval": "month"},
    }
    player = Player(case | more)
    player.lots = (PlanLot(grant_key="cycle", unspent=Decimal(unspent), kept=Decimal(kept)),)
    return player


def goes(player: Player, used: str = "1", at: str = FIRST, **wish: Any) -> Decimal:
    """Change now, all paid; the credits that come and go with it."""
    player.play({"at": at, "used": used, "change": wish | {"when": "now"}})
    return player.granted


def more_units(player: Player) -> Decimal:
    (change,) = player.rows.of(SubscriptionChange)
    return sum((Decimal(one["units"]) for one in change.terms["portions"]), Decimal(0))


def test_a_used_plan_under_a_coupon_goes_down_with_all_its_credits_and_units() -> None:
    player = begun("high", 300, 300, coupons=[FREE])
    assert goes(player, plan="low") == 100 - 300
    assert more_units(player) == 0


def test_spent_credits_of_a_plan_under_a_coupon_refuse_less() -> None:
    with pytest.raises(Conflict, match="credits"):
        goes(begun("high", 300, 0, coupons=[FREE]), plan="low")


def test_a_coupon_for_the_old_plan_alone_is_enough() -> None:
    with pytest.raises(Conflict, match="credits"):
        goes(begun("high", 300, 0, coupons=[FREE | {"sold": ["high"]}]), plan="low")


def test_another_interval_under_a_coupon_brings_no_credits_anew() -> None:
    of_a_second = Decimal("0.000037")
    player = begun("low", 100, 0, coupons=[FREE])
    assert goes(player, at=NEXT, interval="year") == of_a_second


@pytest.mark.parametrize("coupons", [[], [{"code": "MOST", "percent": 99}]])
def test_used_time_of_a_paid_plan_keeps_its_credits_and_units(coupons: list[Any]) -> None:
    player = begun("high", 300, 0, coupons=coupons)
    assert goes(player, plan="low") == 100
    assert more_units(player) == 3000


@pytest.mark.parametrize(("cheaper", "at"), [("none", NEXT), ("low", FIRST)])
def test_used_time_of_a_paid_plan_keeps_its_credits_before_one_for_nothing(
    cheaper: str, at: str
) -> None:
    player = begun("high", 300, 0, coupons=[FREE | {"sold": ["low"]}])
    assert goes(player, at=at, plan=cheaper) == {"none": 50, "low": 100}[cheaper]
    assert player.balance == 0, "its money is kept"


@pytest.mark.parametrize(("unspent", "gone"), [(0, "0"), (20, "20"), (50, "49.999981")])
def test_a_price_buys_all_credits_after_a_plan_without_one(unspent: int, gone: str) -> None:
    """Those of the first second stay."""
    assert goes(begun("none", 50, unspent), at=NEXT, plan="low") == 100 - Decimal(gone)


def test_a_change_within_a_cycle_counts_for_the_month_of_that() -> None:
    player = begun("none", 50, 50)
    given = [("acc_1/none-2027-01-01", "1000"), ("chg_1/grant", "725.8")]
    grants = tuple(
        FreeGrant(grant_key=key, amount=Decimal(many), at=instant("2027-01-20T10:00:00Z"))
        for key, many in given
    )
    w = Work(player.rows, replace(player.facts(), free_grants=grants))
    for month, left in ((1, Decimal("274.2")), (2, 2000)):
        at = instant(f"2027-0{month}-20T10:00:00Z")
        assert free_time.left_in_month(w, MONTH, at, Decimal(2000)) == left


def test_credits_that_came_for_nothing_this_month_do_not_come_after_a_paid_plan() -> None:
    player = begun("low", 100, 100)
    spent = FreeGrant(grant_key="acc_1/none-2027-01-01", amount=Decimal(50), at=instant(FIRST))
    facts = player.facts
    player.facts = lambda: replace(facts(), free_grants=(spent,))  # type: ignore[method-assign]
    assert goes(player, used="0", plan="none") == -100
    assert player.balance == 1000


@pytest.mark.parametrize("wish", [{"interval": "year"}, {"plan": "small", "interval": "year"}])
@pytest.mark.parametrize("used", ["0", "1"])
def test_what_is_used_under_a_coupon_while_a_change_waits_is_taken_back_too(
    used: str, wish: dict[str, Any]
) -> None:
    player = begun("low", 100, 100, coupons=[FREE | {"sold": ["low"], "kinds": ["plan"]}])
    player.ask({"at": FIRST, "change": {"plan": "high", "when": "now"} | wish})
    player.used_share = Decimal(used)
    player.lots = (PlanLot(grant_key="cycle", unspent=Decimal(0), kept=Decimal(100)),)
    assert player.paid(FIRST) == {"high": 200, "small": 0}[wish.get("plan", "high")]


@pytest.mark.parametrize("used", ["0", "1"])
def test_credits_of_a_free_plan_that_are_spent_while_a_change_waits_are_no_part_of_its_price(
    used: str,
) -> None:
    player = begun("none", 50, 50)
    player.ask({"at": FIRST, "change": {"plan": "low", "when": "now"}})
    player.used_share = Decimal(used)
    player.lots = (PlanLot(grant_key="cycle", unspent=Decimal(20), kept=Decimal(50)),)
    assert player.paid(FIRST) == 100 - 20
