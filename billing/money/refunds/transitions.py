"""Decisions that write refunds; the payment's reversal then makes them. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from billing.core import ids, keys
from billing.core.errors import Conflict
from billing.matters.effects import Bear, Facts, Rows, Work
from billing.matters.kinds import REVERSAL
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments.rules import GivenBack
from billing.money.payments.schemas import Payment
from billing.money.refunds.remaining import all_reversals, booked_on, books_of, reversals
from billing.money.refunds.rules import Books, left_minor, parted, step_of, whole_steps
from billing.money.refunds.schemas import Refund, Way

OUTSIDE: Final = "made at the provider"
"""The reason of a refund made at the provider, where the provider gives none."""


def give_back(w: Work[Facts], payment: Payment, reason: str) -> None:
    """Write a refund of a payment that bought nothing, less what already went back.

    The part that a bank took before it was booked is our loss so far: the provider refuses to
    refund it, and it is then kept for whoever wins the dispute.
    """
    left = payment.received_minor - loose_minor(w.rows, payment)
    if left > 0:
        _write(w, payment, w.facts.new_id(), keys.refund(payment.id), left, reason)
        wake_reversal(w, payment.account_id, payment.id)


def loose_minor(rows: Rows, payment: Payment) -> int:
    """Return the payment's money that went back, or is on its way, and was never booked."""
    mine = (one for one in all_reversals(rows) if one.payment_id == payment.id)
    return sum(one.loose_minor for one in mine if one.takes_room)


def here_minor(rows: Rows, payment: Payment) -> int:
    """Return the payment's money that was never booked and is here; negative by what went back
    outside while refunds of ours had the same money on its way.
    """
    kept = sum(one.amount_minor for one in rows.of(BalanceEntry) if one.payment_id == payment.id)
    return payment.received_minor - kept - loose_minor(rows, payment)


def ask(
    w: Work[InvoiceFacts],
    payment: Payment,
    *,
    refund_id: UUID,
    amount_minor: int | None,
    reason: str,
    way: Way,
    reference: str | None,
    line: int | None = None,
    keep_subscription: bool = False,
    keep_credits: bool = False,
) -> Refund:
    """Write a refund that an operator requests, once per `refund_id`; all that is left by default.
    `line` is the position of the only line that it is about, if it is about one.

    The money balance is debited now. If all that is left is refunded, the remainder below a whole
    step goes to the money balance. Errors: PAYMENT_STATE, REFUND_TOO_LARGE, REFUND_STEP.
    """
    known = w.rows.find(Refund, refund_id)
    if known is not None:
        return known
    if payment.settled_at is None:
        raise Conflict("PAYMENT_STATE", "this payment brought in no money that can be refunded")
    left = left_minor(_books(w, payment, way))
    step = step_of(payment) if way == "provider" else 1
    whole = whole_steps(payment, left) if way == "provider" else left
    amount = whole if amount_minor is None else amount_minor
    if not 0 < amount <= left:
        raise Conflict("REFUND_TOO_LARGE", left_cents=whole)
    if amount % step:
        raise Conflict("REFUND_STEP", f"the amount must be a multiple of {step}", left_cents=whole)
    kept = {"line": line, "keep_subscription": keep_subscription, "keep_credits": keep_credits}
    refund = _ask(w, payment, refund_id, amount, reason, way, reference=reference, **kept)
    if amount_minor is None:
        rest = min(left - whole, left_minor(_books(w, payment, "balance")))
        if rest:
            _ask(w, payment, w.facts.new_id(), rest, reason, "balance", **kept)
    return refund


def return_balance(
    w: Work[InvoiceFacts], payment: Payment, *, key: str, most_minor: int, reason: str
) -> int:
    """Write a refund of money on the money balance the way it came, once per `key`; return the sum.
    The maximum is what is left of the payment, in whole steps; money that came by hand stays.
    """
    if payment.settled_at is None or payment.flow == "manual":
        return 0
    if any(one.key == key for one in w.rows.of(Refund)):
        return 0
    books = _books(w, payment, "provider")
    left = min(most_minor, left_minor(books), max(0, books.balance))
    amount = whole_steps(payment, left)
    if amount:
        new_id = w.facts.new_id()
        refund = _write(w, payment, new_id, key, amount, reason, balance_minor=amount)
        leave_balance(w, refund)
        wake_reversal(w, payment.account_id, payment.id)
    return amount


def add_found(w: Work[Facts], payment: Payment, outcome: GivenBack) -> Refund:
    """Add the row of a refund that was made at the provider."""
    return _write(
        w, payment, w.facts.new_id(), keys.found_refund(outcome.refund_id), outcome.amount_minor,
        outcome.reason or OUTSIDE, stripe_refund_id=outcome.refund_id, asked_at=w.facts.at,
    )  # fmt: skip


def succeed(w: Work[Facts], known: Refund) -> Refund:
    """Record that a refund has arrived."""
    done = w.change(known, status="succeeded", finished_at=w.facts.at)
    announce(w, done, "succeeded")
    return done


def take_early(w: Work[Facts], payment: Payment, given_back: Iterable[GivenBack]) -> None:
    """Record what went back of money that is about to be booked, by the answer that brought it:
    its own events may be lost, or come later.
    """
    known = {one.stripe_refund_id for one in w.rows.of(Refund)}
    for one in given_back:
        if one.refund_id in known or one.status == "failed":
            continue
        made = add_found(w, payment, one)
        if one.status == "succeeded":
            succeed(w, made)


def mark_booked(w: Work[Facts], payment: Payment) -> Payment:
    """Mark the payment's money as booked; what went back of it before is booked next."""
    waiting = (one for one in all_reversals(w.rows) if one.is_reserved)
    if any(one.payment_id == payment.id for one in waiting):
        wake_reversal(w, payment.account_id, payment.id)
    look_again(w, but=payment.id)
    return w.change(payment, settled_at=w.facts.at)


def look_again(w: Work[Facts], *, but: UUID | None = None) -> None:
    """Wake the reversals that found no room, because some may have come free."""
    rows = (one for one in all_reversals(w.rows) if one.takes_room)
    short = {one.payment_id: one for one in rows if one.wanted_minor}
    for payment_id, one in short.items():
        if payment_id != but:
            wake_reversal(w, one.account_id, payment_id)


def take_from_grant(
    w: Work[Facts], invoice: Invoice, grant_key: str, cycle_start: datetime | None = None
) -> None:
    """Have what went back of an invoice before its credits came take its share of them.

    Those of a later cycle, whose start is named, bear what went back in it. What went back before
    has taken its share of an earlier cycle, unless the invoice was paid only in this one.
    """
    waited = cycle_start is None or invoice.paid_at is None or invoice.paid_at >= cycle_start
    for one in reversals(w.rows, invoice):
        keeps = isinstance(one, Refund) and one.keep_credits
        if keeps or not (one.takes_room and one.booked_at is not None and one.noted_minor):
            continue
        bears = waited or (cycle_start is not None and one.booked_at >= cycle_start)
        if bears and one.late_grant != grant_key:
            w.change(one, late_grant=grant_key)
            wake_reversal(w, one.account_id, one.payment_id)


def wake_reversal(w: Work[Any], account_id: UUID, payment_id: UUID) -> None:
    """Have the payment's reversal look at its rows; the first thing to do begins it."""
    w.do(Bear(REVERSAL, account_id, payment_id, None))


def is_all_back(rows: Rows, payment: Payment) -> bool:
    """True if all money of the payment went back to its payer or is on its way."""
    back = (one for one in rows.of(Refund) if one.payment_id == payment.id)
    return sum(one.amount_minor for one in back if one.takes_room) >= payment.received_minor > 0


def leave_balance(w: Work[Facts], refund: Refund) -> None:
    """Debit the money balance with the refund's part of it."""
    if refund.balance_minor:
        invoice = w.rows.get(Invoice, refund.invoice_id)
        part = f"-{ids.encode(ids.REFUND, refund.id)}"
        invoices.add_balance(w, invoice, "refunded", -refund.balance_minor, part=part)


def leave_at_once(w: Work[Facts], payment: Payment) -> None:
    """Debit the money balance with what is on its way back of a payment that was just kept there,
    so that nothing else is paid with it meanwhile.
    """
    mine = [one for one in w.rows.of(Refund) if one.payment_id == payment.id and one.is_reserved]
    for one in mine:
        leave_balance(w, w.change(one, balance_minor=one.amount_minor))


def announce(w: Work[Facts], row: Refund, what: str, **detail: Any) -> None:
    """Write one audit row and one `evt.billing.refund.*`."""
    subject = ids.encode(ids.REFUND, row.id)
    facts = {
        "refund_id": subject,
        "payment_id": ids.encode(ids.PAYMENT, row.payment_id),
        "invoice_id": ids.encode(ids.INVOICE, row.invoice_id),
        "amount_cents": row.amount_minor,
        "currency": row.currency,
        "reason": row.reason,
        "method": row.way,
        **detail,
    }
    w.announce(row.account_id, f"refund.{what}", subject, facts)


def _ask(
    w: Work[InvoiceFacts], payment: Payment, refund_id: UUID, amount_minor: int, reason: str,
    way: Way, **fields: Any,
) -> Refund:  # fmt: skip
    parts = parted(_books(w, payment, way), amount_minor)
    refund = _write(
        w, payment, refund_id, keys.asked_refund(refund_id), amount_minor, reason,
        way=way, **fields, **parts._asdict(),
    )  # fmt: skip
    leave_balance(w, refund)
    return refund


def _books(w: Work[InvoiceFacts], payment: Payment, way: Way) -> Books:
    """Return the payment's books; money already on the money balance cannot go there again."""
    books = books_of(w.rows, payment, invoices.money_balance(w, payment.currency))
    if way != "balance":
        return books
    return books._replace(kept=books.given_of_balance, balance=0)


def _write(
    w: Work[Facts],
    payment: Payment,
    refund_id: UUID,
    key: str,
    amount_minor: int,
    reason: str,
    **fields: Any,
) -> Refund:
    refund = w.add(
        Refund(
            id=refund_id,
            account_id=payment.account_id,
            payment_id=payment.id,
            invoice_id=booked_on(w.rows, payment).id,
            key=key,
            status="pending",
            amount_minor=amount_minor,
            currency=payment.currency,
            reason=reason,
            created_at=w.facts.at,
            **fields,
        )
    )
    announce(w, refund, "created")
    return refund
