"""The part of an invoice and its payments that can still be credited or refunded. Pure."""

from typing import Final

from billing.matters.effects import Rows
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import giving_back
from billing.money.invoices.lost_money import unbacked
from billing.money.invoices.note_shares import reserved, shares, unreserved_room
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds.rules import Books
from billing.money.refunds.schemas import Refund

KEPT: Final = ("overpaid", "unasked")
"""Kinds of balance entries that keep surplus money received for an invoice."""


def creditable(rows: Rows, invoice: Invoice) -> int:
    """Return what is left to credit of an invoice, by notes on it and on those that paid for it.

    Amounts reserved for refunds and disputes count as taken, and so does money that a bank took
    from an invoice whose time this one credits.
    """
    left = giving_back.left(rows, invoice).total_minor - reserved(rows, invoice)
    return sum(shares(rows, invoice, max(0, left - unbacked(rows, invoice))).values())


def taken_by_banks(rows: Rows, invoice: Invoice) -> int:
    """Return what disputes took of an invoice: of its own payments, or of money that it credits."""
    own = (one for one in rows.of(Dispute) if one.invoice_id == invoice.id and one.takes_room)
    return sum(one.note_minor for one in own) + unbacked(rows, invoice)


def booked_on(rows: Rows, payment: Payment) -> Invoice:
    """Return the invoice on which the payment's money is booked.

    A purchase that was paid after it had expired has a second invoice for that money, but not for
    what the money balance had kept before.
    """
    kept = (
        one.invoice_id
        for one in rows.of(BalanceEntry)
        if one.kind == "unasked" and one.payment_id == payment.id
    )
    if (invoice_id := next(kept, None)) is not None:
        return rows.get(Invoice, invoice_id)
    asked = rows.get(Invoice, payment.invoice_id)
    late = (one for one in rows.of(Invoice) if one.purchase_id is not None and one.id != asked.id)
    return next(late, asked) if asked.status == "void" and asked.purchase_id else asked


def all_reversals(rows: Rows) -> list[Refund | Dispute]:
    """Return every refund and dispute."""
    return [*rows.of(Refund), *rows.of(Dispute)]


def reversals(rows: Rows, invoice: Invoice) -> list[Refund | Dispute]:
    """Return every refund and dispute of an invoice's payments."""
    return [one for one in all_reversals(rows) if one.invoice_id == invoice.id]


def books_of(rows: Rows, payment: Payment, balance_minor: int) -> Books:
    """The sums behind one payment; `balance_minor` is the account's money balance."""
    invoice = booked_on(rows, payment)
    away = [one for one in reversals(rows, invoice) if one.takes_room]
    mine = [one for one in away if one.payment_id == payment.id]
    loose_gone = sum(
        one.own_minor - one.note_minor - one.balance_minor for one in mine if not one.is_reserved
    )
    kept = sum(
        one.amount_minor
        for one in rows.of(BalanceEntry)
        if one.invoice_id == invoice.id and one.kind in KEPT
    )
    debt = max(0, -invoice.balance_applied_minor)
    # Banks take it first, so it is the first of what they took of the balance.
    gone_debt = min(debt, sum(one.balance_minor for one in away if isinstance(one, Dispute)))
    numbered = invoice.finalized_at is not None
    paid_part = (
        min(creditable(rows, invoice), unreserved_room(rows, invoice)) - invoice.outstanding_minor
    )
    return Books(
        received=payment.received_minor,
        gone=sum(one.amount_minor for one in mine),
        loss=sum(one.amount_minor - one.own_minor for one in mine),
        to_balance=sum(
            one.amount_minor for one in mine if isinstance(one, Refund) and one.way == "balance"
        ),
        paid=invoice.amount_paid_minor,
        kept=kept,
        given=sum(one.note_minor + one.balance_minor for one in away),
        given_of_balance=sum(one.balance_minor for one in away) - gone_debt,
        creditable=max(0, paid_part) if numbered else 0,
        balance=balance_minor,
        loose=max(0, payment.received_minor - invoice.amount_paid_minor - kept - loose_gone),
        debt=debt - gone_debt,
    )
