"""The order that pays a first invoice at PayPal, when another subscribe replaces it."""

from random import Random

from billing.matters.effects import InboxEvent, Work
from billing.money.payments.calls import Answer
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import PAYPAL, Payment
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.transitions import RULES
from tests.unit.lives.subscriptions import SubscriptionLife


def test_an_order_that_was_approved_unheard_is_not_captured_for_what_was_replaced() -> None:
    life = SubscriptionLife(Random(0))
    assert life.subscription.status == "incomplete"
    (payment,) = life.rows.of(Payment)
    life.work().change(payment, flow=PAYPAL, stripe_checkout_session_id="order_1")
    life.ask_of_it(running.supersede)
    life.rows.waiting_events = (InboxEvent("evt_1", 0, "order_1", life.now, payment.id),)
    step = life.next_step()
    assert step is not None
    w = Work(life.rows, life.facts(life.rows))
    RULES.transition(w, step)
    assert w.call is not None
    assert (step.event, w.call.what) == ("evt_1", "look")
    found = Answer(w.call, Outcome(kind="waiting", is_approved=True), life.now)
    w = Work(life.rows, life.facts(life.rows, found))
    RULES.transition(w, step)
    assert w.call is None, "it is not captured"
