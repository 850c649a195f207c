"""A card is tried only for what is still owed once the provider has opened the payment."""

from datetime import timedelta
from random import Random

import pytest

from billing.matters.effects import Work
from billing.money.collecting.transitions import charge
from billing.money.payments.calls import Answer
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import Attempt
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
