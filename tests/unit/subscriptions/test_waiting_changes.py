"""A change of plan waits for its payment while other things come about."""

from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

import pytest

from billing.core.errors import Conflict
from billing.money.discounts.schemas import Discount
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.commands import price_moves, running
from billing.money.subscriptions.facts import PlanLot
from billing.money.subscriptions.schemas import Paying, SubscriptionChange, Terms
from billing.money.subscriptions.terms import changes
from tests.unit.worked.player import Player

CALLS: Final = {"unit_price": "0.01"}
HALF: Final = {"code": "HALF", "percent": 50}


def begun(plan: str = "pro", interval: str = "year", /, **known: Any) -> Player:
    """A subscription of a year with monthly cycles."""
    case = {
        "currency": "USD",
        "zone": "UTC",
        "plans": {
            "pro": {"month": 4900, "year": 49000},
            "enterprise": {"year": 490000, "2 years": 900000},
            "plain": {"year": 60000},
            "fewer": {"year": 70000},
        },
        "terms": {
            "pro": {"credits": 1000, "calls": 100},
            "enterprise": {"credits": 5000, "calls": 500},
            "fewer": {"credits": 1500, "calls": 90},
        },
        "start": {"at": "2027-02-01T00:00:00Z", "plan": plan, "interval": interval},
    }
    return Player(case | known)


def last(player: Player) -> Invoice:
    return player.rows.of(Invoice)[-1]


def test_a_coupon_of_a_change_that_waits_is_off_no_use() -> None:
    player = begun(price=CALLS)
    player.play({"at": "2027-02-20T00:00:00Z", "use": [1000]})
    player.ask(
        {"at": "2027-02-28T12:00:00Z", "change": {"plan": "enterprise", "coupon": HALF}},
    )
    assert last(player).discount_minor > 0, "it is off the change that it came with"
    player.ask({"at": "2027-03-01T00:00:00Z", "cycle": True})
    assert (last(player).subtotal_minor, last(player).discount_minor) == (1000, 0)


def test_a_debt_that_is_paid_meanwhile_redeems_no_coupon_of_a_change() -> None:
    player = begun(price=CALLS)
    player.play({"at": "2027-02-20T00:00:00Z", "use": [1000]})
    player.ask({"at": "2027-02-28T12:00:00Z", "change": {"plan": "enterprise", "coupon": HALF}})
    player.ask({"at": "2027-03-01T00:00:00Z", "cycle": True})
    owed = last(player)
    player.do(payment_effects.on_unpaid)
    player.do(lambda w: payment_effects.on_paid(w, invoices.receive(w, owed, owed.total_minor)))
    assert player.subscription.status == "active"
    player.do(lambda w: changes.drop_pending(w, "not paid in time"))
    assert [one.status for one in player.rows.of(Discount)] == ["released"]


@pytest.mark.parametrize(
    ("wish", "come"),
    [
        ({"plan": "enterprise"}, 4000),
        ({"plan": "enterprise", "interval": "2 years"}, 4000),
        ({"plan": "plain"}, -1000),
    ],
    ids=["in its year", "a new period", "no credits"],
)
def test_credits_are_those_of_the_cycle_in_which_the_money_comes(wish: Any, come: int) -> None:
    player = begun()
    player.ask({"at": "2027-02-28T23:00:00Z", "change": wish})
    player.ask({"at": "2027-03-01T00:00:00Z", "cycle": True})
    assert player.granted == 1000, "the cycle begins with the plan that it has"
    assert player.paid("2027-03-01T01:00:00Z") == come
    assert player.subscription.plan_key == wish["plan"]


def test_what_is_used_of_the_new_cycle_until_the_money_comes_has_its_units_in_it() -> None:
    player = begun()
    player.ask({"at": "2027-02-28T23:00:00Z", "change": {"plan": "fewer"}})
    player.ask({"at": "2027-03-01T00:00:00Z", "cycle": True})
    player.used_share = Decimal("0.5")
    player.paid("2027-03-01T01:00:00Z")
    (change,) = player.rows.of(SubscriptionChange)
    terms = Terms.model_validate(change.terms)
    assert terms.cycle_start == player.subscription.cycle_start
    assert sum(one.units for one in terms.portions) == 50, "a half of the old plan's is billed"
    assert terms.credits == 1500 - 1000 + 500


def test_a_refund_while_a_change_waits_lowers_the_next_one() -> None:
    player = begun()
    took = PlanLot(grant_key="cycle", unspent=Decimal(400), kept=Decimal(400),
                   refunded=Decimal(600))  # fmt: skip
    player.lots = (took,)
    player.ask({"at": "2027-02-01T00:00:00Z", "change": {"plan": "enterprise"}})
    more = took.model_copy(update={"kept": Decimal(100), "refunded": Decimal(900)})
    player.lots = (more,)
    assert player.paid("2027-02-01T01:00:00Z") == 5000 - 400
    (change,) = player.rows.of(SubscriptionChange)
    made_up = Terms.model_validate(change.terms).credits_refunded
    assert made_up == {"cycle": 600}, "what it did not deduct when it was asked for"
    assert more.model_copy(update={"made_up": made_up["cycle"]}).missing == 300


def test_what_is_scheduled_comes_with_the_money_of_the_resumption_that_charges_it() -> None:
    player = begun()
    player.ask({"at": "2027-02-01T00:00:01Z", "change": {"plan": "plain", "when": "period_end"}})
    (planned,) = player.rows.of(SubscriptionChange)
    player.do(partial(running.pause, when="now"))
    _resume(player)
    assert (last(player).status, last(player).total_minor) == ("draft", 60000)
    for verb in (
        partial(running.call_off, change_id=planned.id),
        partial(price_moves.move, reason="prices of 2028"),
        partial(
            price_moves.undo, wrong=planned.id, right=player.prices["pro", "year"], reason="a slip"
        ),
    ):
        with pytest.raises(Conflict, match="awaiting payment"):
            player.do(verb)
    player.do(lambda w: changes.drop_pending(w, "not paid in time"))
    assert (player.subscription.plan_key, player.subscription.kept_until) == ("pro", None)
    assert player.rows.get(SubscriptionChange, planned.id) == planned
    _resume(player)
    player.pay()
    assert (player.subscription.plan_key, player.subscription.amount_minor) == ("plain", 60000)
    assert player.rows.get(SubscriptionChange, planned.id).status == "applied"


def _resume(player: Player) -> None:
    change_id = UUID(int=10**6 + len(player.rows.of(SubscriptionChange)))
    player.do(partial(running.resume, paying=Paying(change_id=change_id, by_card=True)))
