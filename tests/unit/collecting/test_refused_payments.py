"""A provider that opens no payment: it refuses the sum, or has no such customer any more."""

from datetime import timedelta
from random import Random

import pytest

from billing.money.dunning.schemas import DunningCase
from billing.money.payments.calls import Answer, Call
from billing.money.payments.rules import CARDS_GONE, CUSTOMER_GONE, PROVIDER_REFUSED, Decline
from billing.money.payments.schemas import PAYPAL, Attempt, Payment
from tests.unit.lives.collections import BIRTH, Life

WORDS = "Amount must convert to at least 50 cents"
REFUSED = Decline(code=PROVIDER_REFUSED, message=WORDS)
GONE = Decline(code=CUSTOMER_GONE, message=CARDS_GONE)


class Refused(Life):
    """A collection of which the provider opens no payment."""

    why = REFUSED

    def answer(self, call: Call) -> Answer:
        opens = call.what in ("open", "open_page")
        assert opens or call.what == "call_back", call
        return Answer(call, None, BIRTH, refusal=self.why if opens else None)


def test_the_case_goes_its_way_and_no_slot_is_a_decline() -> None:
    life = Refused(Random(0))
    life.new_card()
    life.now += timedelta(hours=1)
    keys: list[str] = []
    while (step := life.next_step()) is not None and len(keys) < 20:
        life.do(step)
        life.hold_true()
        keys.append(step.key.partition("/")[2])
    assert keys == ["attempt-0", "attempt-1", "attempt-2", "give-up"]
    tries = life.rows.of(Attempt)
    assert {(one.status, one.decline_code, one.message) for one in tries} == {
        ("unreached", "provider_refused", WORDS)
    }
    (case,) = life.rows.of(DunningCase)
    assert (case.status, case.last_true_attempt_at) == ("exhausted", case.opened_at)


def test_a_new_card_is_not_tried_again_for_a_payment_that_is_refused() -> None:
    life = Refused(Random(0))
    life.new_card()
    keys: list[str] = []
    while (step := life.next_step()) is not None and step.slot != 1:
        life.do(step)
        life.now += timedelta(hours=1)
        keys.append(step.key.partition("/")[2].partition("-")[0])
        if len(keys) == 1:
            life.new_card()
    assert keys == ["attempt", "card"]


def test_a_card_that_went_with_its_customer_is_declined_for_good() -> None:
    life = Refused(Random(0))
    life.why = GONE
    life.new_card()
    life.now += timedelta(hours=1)
    step = life.next_step()
    assert step is not None
    life.do(step)
    life.hold_true()
    (tried,) = life.rows.of(Attempt)
    assert (tried.status, tried.decline_code, tried.decline_class) == (
        "declined", CUSTOMER_GONE, "hard",
    )  # fmt: skip
    (case,) = life.rows.of(DunningCase)
    assert (case.status, case.last_slot) == ("open", 0)
    assert case.last_true_attempt_at == case.opened_at


@pytest.mark.parametrize("flow", ["card", PAYPAL])
def test_a_payment_of_the_payers_own_is_closed_and_no_case_opens(flow: str) -> None:
    life = Refused(Random(0))
    life.offer()
    (payment,) = life.rows.of(Payment)
    life.work().change(payment, flow=flow)
    step = life.next_step()
    assert step is not None
    assert (step.name, life.do(step).result) == ("open", "refused")
    (payment,) = life.rows.of(Payment)
    assert (payment.status, payment.failure_code) == ("failed", "provider_refused")
    assert (life.invoice.status, life.rows.of(DunningCase)) == ("open", [])
