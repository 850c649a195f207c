"""A try that finds its payment made with its payer's own card is none of our card's."""

from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest

from billing.matters.effects import Work
from billing.money.collecting.transitions import charge
from billing.money.payment_methods.rules import CardDetails
from billing.money.payment_methods.schemas import Method
from billing.money.payments import kept_cards
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Decline, Outcome
from billing.money.payments.schemas import Attempt, Payment
from tests.unit.lives.collections import Life

PAYERS: Final = CardDetails(stripe_payment_method_id="pm_payers", brand="mastercard")
PAID: Final = Outcome(kind="succeeded", intent_id="pi_1", received_minor=4900, card="pm_payers")


class Debt(Life):
    """A debt whose one card is being tried."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        for one in self.rows.of(Method):
            self.work().change(one, status="detached", is_default=False)
        self.save("pm_1")
        self.now += timedelta(hours=1)
        step = self.next_step()
        assert step is not None
        self.step = step
        opened = Outcome(kind="waiting", intent_id="pi_1", client_secret="pi_1_secret")
        self.tries = self.say(self.called(self.say(None)), opened)

    def save(self, name: str) -> None:
        """The customer gives the same card, again."""
        card = CardDetails(stripe_payment_method_id=name, brand="visa", fingerprint="one")
        kept_cards.keep_card(self.work(), self.account_id, card, make_default=True)

    def say(
        self, call: Call | None, outcome: Outcome | None = None, card: CardDetails | None = None
    ) -> Work[Any]:
        answer = Answer(call, outcome, self.now, card) if call is not None else None
        w = Work(self.rows, self.facts(self.rows, answer))
        charge(w, Owed(self.rows, self.invoice_id), self.step)
        return w

    @staticmethod
    def called(w: Work[Any]) -> Call:
        assert isinstance(w.call, Call)
        return w.call

    def shown(self) -> tuple[str, str | None]:
        (attempt,) = self.rows.of(Attempt)
        return attempt.status, attempt.decline_code


def test_the_payers_card_is_read_kept_and_named_and_ours_was_not_reached() -> None:
    debt = Debt()
    looks = debt.called(debt.say(debt.called(debt.tries), PAID))
    assert (looks.what, debt.shown()) == ("look", ("pending", None)), "it is decided with the look"
    done = debt.say(looks, PAID, PAYERS)
    assert (done.call, done.result) == (None, "not tried")
    assert debt.shown() == ("unreached", "paid_otherwise")
    (payment,) = debt.rows.of(Payment)
    used = debt.rows.get(Method, payment.payment_method_id) if payment.payment_method_id else None
    assert used is not None
    assert (used.brand, payment.paid_with and payment.paid_with["brand"]) == ("mastercard",) * 2
    assert debt.invoice.status == "paid"


def test_a_decline_of_the_payers_debit_between_try_and_look_is_not_ours() -> None:
    debt = Debt()
    undecided = Outcome(kind="processing", intent_id="pi_1", card="pm_payers")
    looks = debt.called(debt.say(debt.called(debt.tries), undecided))
    decline = Decline(code="card_declined", message="no", advice="do_not_try_again")
    no = Outcome(kind="declined", intent_id="pi_1", decline=decline, charge_id="ch_payers")
    debt.say(looks, no)
    assert debt.shown() == ("unreached", "paid_otherwise")
    assert [one.barred_at for one in debt.rows.of(Method) if one.status == "active"] == [None]


@pytest.mark.parametrize("named", ["pm_1", "pm_2", None])
def test_a_card_that_was_given_again_since_is_the_one_that_was_tried(named: str | None) -> None:
    debt = Debt()
    debt.save("pm_2")
    done = debt.say(debt.called(debt.tries), PAID.model_copy(update={"card": named}))
    assert (done.call, done.result, debt.shown()) == (None, "succeeded", ("succeeded", None))


def test_a_look_before_the_try_has_its_result_tells_whose_card_has_paid() -> None:
    debt = Debt()
    (payment,) = debt.rows.of(Payment)
    payments.record(debt.work(), payment, PAID)
    assert debt.shown() == ("unreached", "paid_otherwise")
    (payment,) = debt.rows.of(Payment)
    assert (payment.status, payment.payment_method_id) == ("succeeded", None)


@pytest.mark.parametrize(
    ("became", "code"),
    [
        (Outcome(kind="canceled", intent_id="pi_1", is_over=True), "canceled"),
        (Outcome(kind="waiting", intent_id="pi_1"), "declined"),
        (PAID, "declined"),
    ],
    ids=["canceled", "left", "another has paid"],
)
def test_a_debit_that_brought_no_money_has_failed_without_a_word_of_its_bank(
    became: Outcome, code: str
) -> None:
    debt = Debt()
    debt.say(debt.called(debt.tries), Outcome(kind="processing", intent_id="pi_1", card="pm_1"))
    assert debt.shown() == ("processing", None)
    (payment,) = debt.rows.of(Payment)
    payments.record(debt.work(), payment, became)
    assert debt.shown() == ("declined", code)
