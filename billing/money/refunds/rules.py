"""Refunds and disputes as a provider tells of them, and how money given back is parted. Pure.

Its agenda, and the decisions that book it, stand in `billing/money/reversals`.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.core.money import round_credits


class RefundOutcome(Frozen):
    """The standing of one refund, as the provider says now."""

    refund_id: str
    status: Literal["processing", "succeeded", "failed"]
    failure: str | None = None
    amount_minor: int = 0
    name: str | None = None
    """Our own id of it; None: somebody made it at the provider."""
    reason: str | None = None


class DisputeOutcome(Frozen):
    """The standing of one dispute, as the provider says now."""

    dispute_id: str
    status: str
    amount_minor: int
    currency: str
    reason: str
    evidence_due_at: AwareDatetime | None = None


class Taken(Frozen):
    """All refunds and disputes of one payment."""

    refunds: tuple[RefundOutcome, ...] = ()
    disputes: tuple[DisputeOutcome, ...] = ()


class Books(NamedTuple):
    """The sums that say where the money of one payment is; minor units."""

    received: int
    """The money of this payment."""
    gone: int
    """The part of it that went back, or is on its way; disputes may have taken more than it."""
    to_balance: int
    """The part of that which went to the money balance, and not to the payer."""
    paid: int
    """The money that its invoice took, of all its payments."""
    kept: int
    """The money that came for the invoice and was too much: it is on the money balance."""
    given: int
    """The part of paid and kept that went back."""
    given_of_balance: int
    """The part of that which left the money balance."""
    creditable: int
    """The part of the invoice that was paid, and that nothing took back yet."""
    balance: int
    """The customer's money with us."""
    loose: int = 0
    """The part of received that was booked nowhere, and is still here."""


class Parts(NamedTuple):
    """The two places that money which goes back comes from; the rest was booked nowhere."""

    note_minor: int
    """The invoice: a credit note takes it back."""
    balance_minor: int
    """The money balance."""


def left_minor(books: Books) -> int:
    """The most that can still go back of a payment."""
    room = books.received - books.gone
    booked = books.paid + books.kept - books.given
    return max(0, min(room, booked, books.creditable + max(0, books.balance)))


def parted(books: Books, amount_minor: int) -> Parts:
    """The places of an amount; more than the books hold is owed by the money balance.

    What was too much for the invoice goes first: no note is due for it.
    """
    booked = amount_minor - min(amount_minor, books.loose)
    spare = min(books.kept - books.given_of_balance, books.balance, booked)
    note = min(booked - max(0, spare), books.creditable)
    return Parts(note, booked - note)


class Disputed(NamedTuple):
    """The places of the money that a bank took, and what was in none of them."""

    note_minor: int
    balance_minor: int
    loss_minor: int
    """Our loss: the bank took more than was here of the payment."""


def disputed(books: Books, amount_minor: int) -> Disputed:
    """The places of a disputed amount, which the books count as gone: nobody owes any of it."""
    here = max(0, books.received - (books.gone - amount_minor) + books.to_balance)
    note, balance = parted(books, min(amount_minor, here))
    short = max(0, balance - max(0, books.balance))
    return Disputed(note, balance - short, max(0, amount_minor - here) + short)


def to_take(
    credits: Decimal,
    reversed_minor: int,
    total_minor: int,
    asked_before: Decimal,
    gone: Decimal = Decimal(0),
) -> Decimal:
    """The credits of one grant to take back, once so much of its price went back in all.

    `gone` went for other money: with all of it no more is taken than was granted.
    """
    if total_minor <= 0:
        return Decimal(0)
    part = min(Fraction(1), Fraction(reversed_minor, total_minor))
    due = round_credits(credits * part.numerator / part.denominator)
    return max(Decimal(0), min(due, credits - gone) - asked_before)
