"""Money is taken only for what is still owed, and by the way that its payer still wants."""

from datetime import timedelta
from random import Random

import pytest

from billing.matters.effects import Work
from billing.money.collecting.transitions import charge, check
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import PAYPAL, Attempt
from billing.platform.provider_inbox.rules import WaitingEvent, event_step
from tests.unit.lives.collections import Life


@pytest.mark.parametrize("became", ["void", "paid"])
def test_no_card_is_tried_for_an_invoice_that_ended_while_its_payment_was_opened(
    became: str,
) -> None:
    life = Life(Random(0))
    life.new_card()
    life.now += timedelta(hours=1)
    step = life.next_step()
    assert step is not None
    w = life.work()
    charge(w, Owed(life.rows, life.invoice_id), step)
    assert w.call is not None
    assert w.call.what == "open"
    life.work().change(life.invoice, status=became)
    opened = Answer(w.call, Outcome(kind="waiting", intent_id="pi_1"), life.now)
    w = Work(life.rows, life.facts(life.rows, opened))
    charge(w, Owed(life.rows, life.invoice_id), step)
    (attempt,) = life.rows.of(Attempt)
    assert (w.call, w.result, attempt.status) == (None, "not tried", "unreached")


@pytest.mark.parametrize("chosen", [None, "card", "transfer", "less"])
def test_an_order_is_captured_while_it_is_what_is_owed_and_wanted(chosen: str | None) -> None:
    life = Life(Random(0))
    w, owed = life.work(), Owed(life.rows, life.invoice_id)
    order = payments.open_flow(w, owed, PAYPAL, None)
    order = w.change(order, stripe_checkout_session_id="order_1")
    if chosen == "card":
        order = w.change(order, superseded_at=life.now)
    elif chosen == "transfer":
        payments.open_flow(w, owed, "manual", None)
    elif chosen == "less":
        w.change(owed.invoice, amount_credited_minor=1000)
    check(w, order, event_step("inv_1", WaitingEvent(id="evt_1")))
    assert w.call is not None
    assert (w.call.what, w.call.may_capture) == ("look", chosen is None)
