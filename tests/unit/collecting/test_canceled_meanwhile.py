"""Money is taken only for what is still owed, and by the way that its payer still wants."""

from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest

from billing.core.errors import Conflict
from billing.matters.effects import Work
from billing.money.collecting.transitions import charge, check
from billing.money.dunning import cases
from billing.money.payments import captures
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Decline, Outcome
from billing.money.payments.schemas import PAYPAL, Attempt, Payment
from billing.platform.provider_inbox.rules import WaitingEvent, event_step
from tests.unit.lives.collections import Life

APPROVED: Final = Outcome(kind="waiting", is_approved=True)
HEARD: Final = event_step("inv_1", WaitingEvent(id="evt_1"))


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
        case "given up":
            assert owed.live is not None
            w.change(owed.live, status="canceled")
        case "transfer":
            payments.open_flow(w, owed, "manual", None)
        case "recorded":
            by_hand = payments.open_flow(w, owed, "manual", None)
            w.change(by_hand, status="completed", received_minor=1000)
        case "less":
            w.change(owed.invoice, amount_credited_minor=1000)
        case _:
            w.change(owed.invoice, status=became)


@pytest.mark.parametrize("chosen", [None, "card", "transfer", "recorded", "less", "given up"])
def test_an_order_is_captured_while_it_is_what_is_owed_and_wanted(chosen: str | None) -> None:
    life = Life(Random(0))
    order = _approved(life)
    if chosen is not None:
        _overtake(life.work(), Owed(life.rows, life.invoice_id), chosen)
    call = _looked(life, order, APPROVED)
    assert (call and call.what) == ("capture" if chosen is None else None)


def test_a_capture_is_noted_by_the_clock_that_its_giving_up_reads() -> None:
    life = Life(Random(0))
    order, work = _approved(life), life.work()
    work.facts.database_at = life.now - timedelta(days=1)
    looked = Call(what="look", payment=order)
    assert captures.begin(work, Answer(looked, APPROVED, life.now))
    assert work.call.payment.capture_asked_at == work.facts.database_at


def test_a_capture_comes_before_the_forgiveness_until_its_result_is_known() -> None:
    life = Life(Random(0))
    order = _approved(life)
    call = _looked(life, order, APPROVED)
    assert call is not None
    assert call.payment.capture_asked_at == life.now, "noted before it is sent"
    with pytest.raises(Conflict) as refused:
        cases.forgive(life.work(), life.invoice_id, "goodwill")
    assert refused.value.code == "PAYMENT_PENDING"
    call = _looked(life, order, APPROVED)
    assert call is not None, "it was never sent, as its worker died"
    said_no = Outcome(kind="declined", decline=Decline(code="refused", message="no"))
    check(Work(life.rows, life.facts(life.rows, Answer(call, said_no, life.now))), order, HEARD)
    cases.forgive(life.work(), life.invoice_id, "goodwill")
    assert life.invoice.settlement == "forgiven"


def test_a_capture_may_still_come_after_a_look_that_finds_its_order_approved() -> None:
    life = Life(Random(0))
    order = _approved(life)
    assert _looked(life, order, APPROVED) is not None
    life.work().change(life.rows.get(Payment, order.id), superseded_at=life.now)
    assert _looked(life, order, APPROVED) is None
    with pytest.raises(Conflict) as refused:
        cases.forgive(life.work(), life.invoice_id, "goodwill")
    assert refused.value.code == "PAYMENT_PENDING"


@pytest.mark.parametrize("found", [Outcome(kind="waiting"), Outcome(kind="canceled")])
def test_no_capture_comes_once_its_order_waits_for_its_payer_again_or_is_given_up(
    found: Outcome,
) -> None:
    life = Life(Random(0))
    order = _approved(life)
    assert _looked(life, order, APPROVED) is not None
    life.work().change(life.rows.get(Payment, order.id), superseded_at=life.now)
    assert _looked(life, order, found) is None
    cases.forgive(life.work(), life.invoice_id, "goodwill")
    assert life.invoice.settlement == "forgiven"


def _approved(life: Life) -> Payment:
    """Open an order, which its payer approves."""
    w = life.work()
    order = payments.open_flow(w, Owed(life.rows, life.invoice_id), PAYPAL, None)
    return w.change(order, stripe_checkout_session_id="order_1")


def _looked(life: Life, order: Payment, found: Outcome) -> Call | None:
    """Look at the order because of an event; return the call that follows on what was found."""
    w = life.work()
    check(w, life.rows.get(Payment, order.id), HEARD)
    assert w.call is not None
    assert w.call.what == "look"
    w = Work(life.rows, life.facts(life.rows, Answer(w.call, found, life.now)))
    check(w, life.rows.get(Payment, order.id), HEARD)
    follows: Call | None = w.call
    return follows
