"""Endings of a use that a card pays, at a bank that answers as each test needs."""

from random import Random

import pytest

from billing.matters.effects import Announce
from billing.money.card_usage.reading import ENGINE
from billing.money.card_usage.rules import LIFETIME
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payment_methods.schemas import Method
from billing.money.payments.schemas import Attempt
from tests.unit.lives.charges import PRICE, Charge
from tests.unit.lives.collections import BIRTH
from tests.unit.lives.told import Told


def live(*answers: str) -> tuple[Charge, Told, list[str]]:
    """A charge at this bank until there is nothing more to do; the names of its steps."""
    bank = Told(answers)
    life, steps = Charge(Random(0), bank), list[str]()
    while (step := life.next_step()) is not None:
        life.do(step)
        life.hold_true()
        steps.append(step.name)
    assert bank.answers == [], "the bank was not asked all that was expected"
    return life, bank, steps


def invoices(life: Charge) -> list[str]:
    return [one.status for one in life.rows.of(Invoice)]


def kept(life: Charge) -> list[int]:
    return [one.amount_minor for one in life.rows.of(BalanceEntry)]


def test_a_card_that_pays_completes_the_use() -> None:
    life, bank, steps = live("waiting", "succeeded")
    assert (steps, bank.calls) == (["charge"], ["open", "try_card"])
    assert (life.use.billing_status, invoices(life), kept(life)) == ("completed", ["paid"], [])


def test_a_decline_fails_the_use_and_calls_its_payment_back() -> None:
    life, bank, steps = live("waiting", "declined", "canceled")
    assert (steps, bank.calls[-1]) == (["charge", "retire"], "call_back")
    assert (life.use.billing_status, invoices(life), kept(life)) == ("failed", ["void"], [])


def test_money_that_comes_after_the_decline_is_kept() -> None:
    life, _, steps = live("waiting", "declined", "succeeded")
    assert steps == ["charge", "retire"]
    assert (life.use.billing_status, invoices(life), kept(life)) == ("failed", ["void"], [PRICE])


@pytest.mark.parametrize("word", ["action", "processing"])
def test_a_charge_that_waits_is_looked_at_until_it_is_paid(word: str) -> None:
    life, bank, steps = live("waiting", word, word, "succeeded")
    assert steps == ["charge", "check", "check"]
    assert bank.calls[2:] == ["look", "look"]
    assert (life.use.billing_status, kept(life)) == ("completed", [])


def test_a_bank_that_says_no_in_the_end_fails_the_use() -> None:
    life, _, steps = live("waiting", "processing", "declined", "canceled")
    assert steps == ["charge", "check", "retire"]
    assert (life.use.billing_status, invoices(life)) == ("failed", ["void"])


def test_a_payer_who_fails_the_banks_question_fails_the_use_at_once() -> None:
    life, _, steps = live("waiting", "action", "declined", "canceled")
    assert steps == ["charge", "check", "retire"]
    assert (life.use.billing_status, invoices(life)) == ("failed", ["void"])
    assert [one.status for one in life.rows.of(Attempt)] == ["declined"]


def test_a_payer_who_does_not_come_back_pays_nothing() -> None:
    life, bank, steps = live("waiting", *["action"] * 5, "canceled")
    assert (steps[-1], bank.calls[-1]) == ("expire", "call_back")
    assert life.now == BIRTH + LIFETIME
    assert (life.use.billing_status, invoices(life), kept(life)) == ("failed", ["void"], [])


def test_too_late_and_yet_the_bank_has_taken_the_money() -> None:
    life, _, steps = live("waiting", *["action"] * 5, "succeeded")
    assert steps[-1] == "expire"
    assert (life.use.billing_status, invoices(life), kept(life)) == ("completed", ["paid"], [])


def test_too_late_and_the_bank_is_still_deciding() -> None:
    life, _, steps = live("waiting", *["action"] * 5, "processing", "succeeded")
    assert steps[-2:] == ["expire", "check"]
    assert life.use.billing_status == "completed"


def test_without_a_card_nothing_is_asked() -> None:
    life = Charge(Random(0), Told([]))
    for card in life.rows.of(Method):
        life.work().change(card, status="removed")
    step = life.next_step()
    assert step is not None
    done = ENGINE.rules.carry_out(life.rows, step, life.facts, life.answer)
    (attempt,) = done.rows.of(Attempt)
    assert (attempt.status, done.result) == ("skipped", "skipped: no_payment_method")
    told = [one.action for one in done.effects if isinstance(one, Announce)]
    assert told == ["invoice.voided", "usage.failed"]
