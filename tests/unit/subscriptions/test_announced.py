"""Acts on a subscription are told to others, and in the audit: an announcement is both."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from billing.matters.effects import Announce, Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import coupons, payment_effects
from billing.money.subscriptions.commands import plan_changes, running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.schemas import Paying, PlanWish
from billing.money.subscriptions.transitions import transition
from billing.money.subscriptions.views import view
from billing.platform.outbox.kinds import PREFIX
from tests.misfits import misfits
from tests.unit.worked.player import Case, Player, instant

Verb = Callable[[Work[SubscriptionFacts]], object]
LATER: Final = "2027-01-10T10:00:00Z"
TRIAL: Final = {"trial_end": "2027-01-15T10:00:00Z"}
TEN: Final[Case] = {"code": "TEN", "percent": 10}


def running_since_january(**start: Any) -> Player:
    player = Player(
        {
            "currency": "USD", "zone": "UTC", "coupons": [TEN],
            "plans": {"basic": {"month": 1000}, "pro": {"month": 3000}},
            "start": {"at": "2027-01-01T10:00:00Z", "plan": "basic", "interval": "month", **start},
        }
    )  # fmt: skip
    player.now, player.wanted = instant(LATER), "pro"
    return player


def told(player: Player, verb: Verb) -> list[str]:
    """The events of an act; each has the fields that its list says."""
    work = Work(player.rows, player.facts())
    verb(work)
    found = [one for one in work.effects if isinstance(one, Announce)]
    assert [misfits(PREFIX + one.action, one.facts) for one in found] == [[]] * len(found)
    return [one.action for one in found]


def to_pro(when: str) -> Verb:
    wish = PlanWish(plan="pro", when=when)  # type: ignore[arg-type]
    return lambda w: plan_changes.change(w, wish, Paying(change_id=w.facts.new_id(), by_card=True))


def renewal(w: Work[SubscriptionFacts]) -> None:
    step = next(one for one in agenda(view(w.rows, w.facts)) if one.name == "renew")
    transition(w, step)


@pytest.mark.parametrize(
    ("verb", "event"),
    [
        (lambda w: running.cancel(w, now=False), "subscription.cancel_scheduled"),
        (lambda w: running.cancel(w, now=False, date=instant("2027-01-20T10:00:00Z")),
         "subscription.end_scheduled"),
        (lambda w: running.choose_card(w, method_id=None), "subscription.card_chosen"),
        (lambda w: coupons.remove(w, "ten"), "subscription.coupon_removed"),
        (to_pro("period_end"), "subscription.change_scheduled"),
    ],
)  # fmt: skip
def test_an_act_is_told(verb: Verb, event: str) -> None:
    assert event in told(running_since_january(), verb)


def test_an_end_that_is_called_off_is_told() -> None:
    player = running_since_january()
    player.do(lambda w: running.cancel(w, now=False))
    assert told(player, running.reactivate) == ["subscription.reactivated"]


def test_another_plan_is_told_once_it_is_there() -> None:
    assert "subscription.plan_changed" in told(running_since_january(**TRIAL), to_pro("now")), (
        "a trial's"
    )
    player = running_since_january()
    player.do(to_pro("period_end"))
    player.now = player.subscription.current_period_end
    assert "subscription.plan_changed" in told(player, renewal), "with the period that begins"
    player = running_since_january()
    assert "subscription.plan_changed" not in told(player, to_pro("now")), "it is paid first"
    asked = waiting(player)
    assert "subscription.plan_changed" in told(player, received(asked, asked.amount_due_minor))


def test_a_coupon_of_a_change_is_told_once_the_change_is_paid() -> None:
    player = running_since_january()
    sale = {"code": "SALE", "percent": 20}
    player.ask({"at": LATER, "change": {"plan": "pro", "when": "now", "coupon": sale}})
    asked = waiting(player)
    assert "subscription.coupon_redeemed" in told(player, received(asked, asked.amount_due_minor))


def test_money_that_pays_a_part_is_told() -> None:
    player = running_since_january()
    player.do(to_pro("now"))
    asked = waiting(player)
    assert told(player, lambda w: invoices.receive(w, asked, 100)) == ["invoice.partly_paid"]


def waiting(player: Player) -> Invoice:
    (asked,) = (one for one in player.rows.of(Invoice) if one.status in ("draft", "open"))
    return asked


def received(asked: Invoice, minor: int) -> Verb:
    return lambda w: payment_effects.on_paid(w, invoices.receive(w, asked, minor))
