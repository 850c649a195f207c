"""The part of an invoice and its payments that can still be credited or refunded. Pure."""

from collections.abc import Container
from typing import Final
from uuid import UUID

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

    A purchase that was paid after it had expired has a second invoice for the payment that bought
    it then, but not for what its void draft had taken, or the money balance had kept, before.
    """
    kept = {one.payment_id: one.invoice_id for one in rows.of(BalanceEntry) if _is_unasked(one)}
    if (invoice_id := kept.get(payment.id)) is not None:
        return rows.get(Invoice, invoice_id)
    asked = rows.get(Invoice, payment.invoice_id)
    late = (one for one in rows.of(Invoice) if one.purchase_id is not None and one.id != asked.id)
    is_late = asked.status == "void" and asked.purchase_id and _is_last(rows, payment, kept)
    return next(late, asked) if is_late else asked


def _is_unasked(entry: BalanceEntry) -> bool:
    return entry.kind == "unasked" and entry.payment_id is not None


def _is_last(rows: Rows, payment: Payment, kept: Container[UUID | None]) -> bool:
    """True if no other payment of its invoice was booked later: of what bought a purchase late,
    nothing came after it but what was kept. Nor was one that is not booked yet.
    """
    booked = (
        (one.settled_at, one.id)
        for one in rows.having(Payment, "invoice_id", payment.invoice_id)
        if one.settled_at is not None and one.id not in kept
    )
    return payment.settled_at is None or (payment.settled_at, payment.id) >= max(booked)


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
    kept = sum(
        one.amount_minor
        for one in rows.of(BalanceEntry)
        if one.invoice_id == invoice.id and one.kind in KEPT
    )
    debt = max(0, -invoice.balance_applied_minor)
    # Banks take it first, so it is the first of what they took of the balance.
    gone_debt = min(debt, sum(one.balance_minor for one in away if isinstance(one, Dispute)))
    numbered = invoice.finalized_at is not None
    loose, back = _unbooked(rows, payment, invoice, mine)
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
        loose=loose,
        back=back,
        debt=debt - gone_debt,
    )


def _unbooked(
    rows: Rows, payment: Payment, invoice: Invoice, away: list[Refund | Dispute]
) -> tuple[int, int]:
    """Return what is still here of a payment that was never booked, because its invoice was void
    before it came: what is loose, and what is on the money balance. What came by hand was kept.
    """
    at, voided_at = payment.settled_at, invoice.voided_at
    was_paid = at is not None and voided_at is not None and at < voided_at
    if invoice.status != "void" or payment.flow == "manual" or was_paid:
        return 0, 0
    kept = sum(
        one.amount_minor
        for one in rows.of(BalanceEntry)
        if _is_unasked(one) and one.payment_id == payment.id
    )
    gone = sum(one.loose_minor for one in away if not one.is_reserved)
    left = kept - sum(one.balance_minor for one in away)
    return max(0, payment.received_minor - kept - gone), max(0, left)
