"""Refunds and disputes as a provider reports them, and the split of returned money. Pure.

The agenda and the booking decisions are in `billing/money/reversals`.
"""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from pydantic import AwareDatetime

from billing.core import currencies, paypal_currencies
from billing.core.frozen import Frozen
from billing.core.money import ZERO, round_credits
from billing.money.payments.rules import GivenBack
from billing.money.payments.schemas import PAYPAL, Payment


class RefundOutcome(GivenBack):
    """Current state of one refund at the provider."""

    failure: str | None = None
    name: str | None = None
    """Our own id of the refund; None: somebody made it at the provider."""


class DisputeOutcome(Frozen):
    """Current state of one dispute at the provider."""

    dispute_id: str
    status: str
    amount_minor: int
    currency: str
    reason: str
    evidence_due_at: AwareDatetime | None = None
    is_withdrawn: bool = False
    """True if the provider's account lacks the money of the dispute now."""
    returned_minor: int = 0
    """The part that was withdrawn and is back."""


class Taken(Frozen):
    """All refunds and disputes of one payment."""

    refunds: tuple[RefundOutcome, ...] = ()
    disputes: tuple[DisputeOutcome, ...] = ()


class Books(NamedTuple):
    """Sums that locate the money of one payment; minor units."""

    received: int
    """The money of this payment."""
    gone: int
    """The part that went back or is on its way; disputes may have taken more than the payment."""
    loss: int
    """The part of `gone` that was no money of the payment: our loss, or it is not placed yet."""
    to_balance: int
    """The part of `gone` that went to the money balance, not to the payer."""
    paid: int
    """The money booked on its invoice, of all payments."""
    kept: int
    """Surplus money received for the invoice, kept on the money balance."""
    given: int
    """The part of `paid` and `kept` that went back."""
    given_of_balance: int
    """The part of `given` that left the money balance, without the debt that banks took."""
    creditable: int
    """The paid part of the invoice that nothing has credited yet."""
    balance: int
    """The account's money balance."""
    loose: int = 0
    """The part of `received` that was never booked and is still here."""
    back: int = 0
    """The part of `received` that was kept once a refund of what was never booked had failed."""
    debt: int = 0
    """The part of `paid` that paid a debt carried to the invoice, and that no bank took yet."""


class Parts(NamedTuple):
    """The two sources of returned money; the rest was never booked."""

    note_minor: int
    """From the invoice, by a credit note."""
    balance_minor: int
    """From the money balance."""


def step_of(payment: Payment) -> int:
    """Return the step in which the payment's provider gives its money back; in minor units."""
    if payment.flow == PAYPAL:
        return paypal_currencies.step(payment.currency)
    return currencies.charging(payment.currency).step


def whole_steps(payment: Payment, amount_minor: int) -> int:
    """Return the most of an amount that the payment's provider can give back."""
    return amount_minor - amount_minor % step_of(payment)


def left_minor(books: Books) -> int:
    """Return the maximum that can still be returned of a payment."""
    room = books.received - books.gone
    booked = books.paid + books.kept - books.given
    return max(0, min(room, booked, books.creditable + max(0, books.balance)))


def parted(books: Books, amount_minor: int) -> Parts:
    """Split an amount by its sources; an excess over the books is owed by the money balance.

    Surplus money goes first, because it needs no credit note; of what was never booked, what is on
    the balance, because a refund of the rest may be on its way.
    """
    booked = amount_minor - min(max(0, amount_minor - books.back), books.loose)
    spare = min(books.kept - books.given_of_balance, books.balance, booked)
    note = min(booked - max(0, spare), books.creditable)
    return Parts(note, booked - note)


class Disputed(NamedTuple):
    """The sources of the money that a bank took, and the part without a source."""

    note_minor: int
    balance_minor: int
    loss_minor: int
    """Our loss: the bank took more than we still had of the payment."""


def disputed(books: Books, amount_minor: int) -> Disputed:
    """Split a disputed amount, which `gone` includes already. The bank takes first what had paid a
    carried debt, which is owed again; of the rest the customer owes nothing.
    """
    others = books.gone - books.loss - amount_minor
    received = books.received - others + books.to_balance
    here = min(amount_minor, max(0, received))
    debt = min(here, books.debt)
    note, balance = parted(books, here - debt)
    short = max(0, balance - max(0, books.balance))
    return Disputed(note, debt + balance - short, amount_minor - here + short)


def to_take(
    credits: Decimal,
    reversed_minor: int,
    total_minor: int,
    asked_before: Decimal,
    gone: Decimal,
) -> Decimal:
    """Return the credits of one grant to claw back, after `reversed_minor` of its price went back.

    `gone` was clawed back for other money; the total never exceeds the grant.
    """
    if total_minor <= 0:
        return ZERO
    part = min(Fraction(1), Fraction(reversed_minor, total_minor))
    due = round_credits(credits * part.numerator / part.denominator)
    return max(ZERO, min(due, credits - gone) - asked_before)
