"""Money is taken only for what is still owed, and by the way that its payer still wants."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from billing.matters.effects import Work
from billing.money.collecting.transitions import charge, check
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import PAYPAL, Attempt, Payment
from billing.platform.provider_inbox.rules import WaitingEvent, event_step
from tests.unit.lives.collections import Life


@pytest.mark.parametrize("became", ["void", "paid", "card", "transfer", "recorded", "less"])
def test_no_card_is_tried_for_what_was_ended_or_overtaken_while_its_payment_was_opened(
    became: str,
) -> None:
    life = Life(Random(0))
    life.new_card()
    life.now += timedelta(hours=1)
    step = life.next_step()
    assert step is not None
    owed = Owed(life.rows, life.invoice_id)
    w = life.work()
    charge(w, owed, step)
    assert w.call is not None
    assert w.call.what == "open"
    _overtake(life.work(), owed, became)
    opened = Answer(w.call, Outcome(kind="waiting", intent_id="pi_1"), life.now)
    w = Work(life.rows, life.facts(life.rows, opened))
    charge(w, owed, step)
    (attempt,) = life.rows.of(Attempt)
    assert (w.call, w.result, attempt.status) == (None, "not tried", "unreached")


def _overtake(w: Work[Any], owed: Owed, became: str) -> None:
    """Do what the payer or an operator may do while a payment is opened at the provider."""
    match became:
        case "card":
            assert owed.live is not None
            w.change(owed.live, superseded_at=w.facts.at)
        case "transfer":
            payments.open_flow(w, owed, "manual", None)
        case "recorded":
            by_hand = payments.open_flow(w, owed, "manual", None)
            w.change(by_hand, status="completed", received_minor=1000)
        case "less":
            w.change(owed.invoice, amount_credited_minor=1000)
        case _:
            w.change(owed.invoice, status=became)


@pytest.mark.parametrize("chosen", [None, "card", "transfer", "recorded", "less"])
def test_an_order_is_captured_while_it_is_what_is_owed_and_wanted(chosen: str | None) -> None:
    life = Life(Random(0))
    w, owed = life.work(), Owed(life.rows, life.invoice_id)
    order = payments.open_flow(w, owed, PAYPAL, None)
    order = w.change(order, stripe_checkout_session_id="order_1")
    if chosen is not None:
        _overtake(w, owed, chosen)
    check(w, w.rows.get(Payment, order.id), event_step("inv_1", WaitingEvent(id="evt_1")))
    assert w.call is not None
    assert (w.call.what, w.call.may_capture) == ("look", chosen is None)
