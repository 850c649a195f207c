"""A bank takes the money before its payment is booked: the order of the two does not matter."""

from typing import Any

import pytest

from billing.matters.agenda import Step
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.remaining import creditable
from billing.money.reversals import transitions
from billing.money.reversals.views import booked_key, unbooked
from tests.unit.reversals.story import AT, CREDITS, INVOICE, PAYMENT, Story, act

PRICE = 999
OPENED = (("dispute", "needs_response", None), ("hear",))
LOST = (("decide", "lost"), ("hear",))


class Early(Story):
    """A pack whose payment we have not heard of."""

    def __init__(self) -> None:
        super().__init__(PRICE, 0)
        w = self.work()
        unpaid: dict[str, Any] = {"finalized_at": None, "paid_at": None, "settlement": None}
        w.change(self.rows.get(Invoice, INVOICE), status="draft", amount_paid_minor=0, **unpaid)
        w.change(
            self.rows.get(Payment, PAYMENT), status="processing", received_minor=0,
            settled_at=None, paid_at=None,
        )  # fmt: skip

    def come(self, to_balance: int = 0) -> None:
        """The payment is heard of; a part of it may find nothing left to pay."""
        w = self.work()
        payment = w.change(
            self.rows.get(Payment, PAYMENT), status="succeeded", received_minor=PRICE, paid_at=AT
        )
        refunds.mark_booked(w, payment)
        paid = PRICE - to_balance
        invoice = w.change(
            self.rows.get(Invoice, INVOICE), status="paid", amount_paid_minor=paid,
            total_minor=paid, amount_due_minor=paid, finalized_at=AT, paid_at=AT,
            settlement="payment",
        )  # fmt: skip
        if to_balance:
            invoices.add_balance(w, invoice, "overpaid", to_balance)
        while (waiting := unbooked(self.rows, PAYMENT)) is not None:
            w = self.work()
            transitions.book(w, Step(name="book", due=AT, key=booked_key(waiting)))
            self.follow(w.effects)
        self.settle()

    def go(self, *acts: tuple[Any, ...]) -> None:
        for one in acts:
            act(self, one)


@pytest.mark.parametrize("known", [OPENED, (*OPENED, *LOST)], ids=["open", "lost"])
def test_it_takes_the_credits_and_is_a_credit_note_once_the_payment_is_booked(
    known: tuple[tuple[Any, ...], ...],
) -> None:
    story = Early()
    story.go(*known)
    story.come()
    story.hold_true()
    assert story.lot["asked"] == CREDITS
    story.go(*LOST)
    story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.note_minor, dispute.balance_minor, dispute.loss_minor) == (PRICE, 0, 0)
    assert sum(one.amount_minor for one in story.rows.of(CreditNote)) == PRICE
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


def test_two_that_come_before_the_payment_is_booked_take_its_money_once() -> None:
    story = Early()
    story.go(*OPENED, *LOST, *OPENED, *LOST)
    story.come()
    parts = [(one.note_minor, one.loss_minor) for one in story.rows.of(Dispute)]
    assert parts == [(PRICE, 0), (0, PRICE)]
    assert story.lot["asked"] == CREDITS
    assert story.balance == 0


def test_it_leaves_nothing_else_to_return_while_it_is_open() -> None:
    story = Early()
    story.go(*OPENED)
    story.come()
    story.ask(PRICE, "provider", "succeeded")
    assert not story.asked
    assert creditable(story.rows, story.rows.get(Invoice, INVOICE)) == 0


def test_it_takes_what_the_payment_left_on_the_balance() -> None:
    story = Early()
    story.go(*OPENED)
    story.come(to_balance=99)
    [dispute] = story.rows.of(Dispute)
    assert (dispute.note_minor, dispute.balance_minor, dispute.loss_minor) == (900, 99, 0)
    assert story.balance == 0


def test_one_that_is_won_before_the_payment_is_booked_takes_nothing() -> None:
    story = Early()
    story.go(*OPENED, *LOST, ("decide", "won"), ("hear",))
    story.come()
    story.hold_true()
    [dispute] = story.rows.of(Dispute)
    assert (dispute.state, dispute.booked_at, dispute.note_minor) == ("won", None, 0)
    assert story.lot["asked"] == 0
    assert not [*story.rows.of(BalanceEntry), *story.rows.of(CreditNote)]
