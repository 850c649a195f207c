"""Booking of money that went back: the credit note, the sums and the clawback. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from billing.core import ids, keys
from billing.core.money import ZERO, show_decimal
from billing.ledger.credits import verbs
from billing.matters.effects import Do, Facts, Rows, Wake, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import notes
from billing.money.invoices import transitions as invoices
from billing.money.invoices.giving_back import is_of, left
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import (
    REVERSED,
    BalanceEntry,
    CreditNote,
    Invoice,
    NoteKind,
)
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments import transitions as payments
from billing.money.payments.schemas import Payment
from billing.money.purchases.schemas import Purchase
from billing.money.refunds.remaining import KEPT, all_reversals, booked_on, reversals
from billing.money.refunds.rules import to_take
from billing.money.refunds.schemas import Refund
from billing.money.reversals.facts import Granted, ReversalFacts


def subject_of(row: Refund | Dispute) -> str:
    """Return the external id of a refund or dispute."""
    return ids.encode(ids.REFUND if isinstance(row, Refund) else ids.DISPUTE, row.id)


def book(w: Work[ReversalFacts], row: Refund | Dispute) -> None:
    """Book money that went back for good: note, sums, credits, and the end of the sale."""
    row = w.change(row, booked_at=w.facts.at)  # nothing is reserved for it any more
    note(w, row, row.note_minor)
    take_credits(w, row)
    count(w, row)


def note(w: Work[InvoiceFacts], row: Refund | Dispute, amount_minor: int, part: str = "") -> None:
    """Write a credit note for a part of a refund or dispute."""
    invoice = w.rows.get(Invoice, row.invoice_id)
    # A customer who keeps the credits was charged too high a price.
    served = not _keeps(row)
    lines = _lines(w, row, amount_minor)
    kind: NoteKind = "refund" if isinstance(row, Refund) else "dispute"
    new = NewNote(kind, amount_minor, _reason(row), f"{subject_of(row)}{part}", lines, served)
    if _to_balance(row):
        notes.credit_note(w, invoice, new, to_balance=True)
    elif amount_minor:
        notes.reverse(w, invoice, new)


def notes_of(rows: Rows, written_for: Iterable[Refund | Dispute]) -> list[CreditNote]:
    """Return the credit notes that were written for these refunds and disputes."""
    named = [f"/{subject_of(one)}" for one in written_for]
    found = rows.of(CreditNote)
    return [one for one in found if any(name in one.fact_key for name in named)]


def _lines(
    w: Work[InvoiceFacts], row: Refund | Dispute, amount_minor: int
) -> tuple[dict[str, Any], ...]:
    """Return the part of the line that a refund is about; none if it is about all of them."""
    position = row.line if isinstance(row, Refund) else None
    found = invoices.lines_of(w.rows, row.invoice_id)
    return tuple(notes.noted_part(one, amount_minor) for one in found if one.position == position)


def count(w: Work[ReversalFacts], row: Refund | Dispute) -> None:
    """Add the row to the payment's returned money; the purchase or subscription may end."""
    invoice = w.rows.get(Invoice, row.invoice_id)
    payment = w.rows.get(Payment, row.payment_id)
    count_refunded(w, payment, _reason(row))
    end_purchase(w, invoice)
    if invoice.subscription_id is not None:
        # It may end, because the money of its period went back.
        w.do(Wake(SUBSCRIPTION.workflow_id(invoice.subscription_id)))


def move_balance(
    w: Work[InvoiceFacts], row: Refund | Dispute, amount_minor: int, kind: str, of: str = ""
) -> None:
    """Book the row's part of the money balance out of it, or back."""
    if amount_minor:
        invoice = booked_on(w.rows, w.rows.get(Payment, row.payment_id))
        invoices.add_balance(w, invoice, kind, amount_minor, part=f"{of}-{subject_of(row)}")


def count_refunded(w: Work[InvoiceFacts], payment: Payment, reason: str) -> None:
    """Sum up the payment's returned money; a fully returned payment is `refunded`.

    Money that went to the money balance, and from there to a bank, counts once.
    """
    invoice = booked_on(w.rows, payment)
    own = sum(
        one.own_minor
        for one in all_reversals(w.rows)
        if one.payment_id == payment.id and one.takes_room and one.booked_at is not None
    )
    refunded = min(own, payment.received_minor)
    more = refunded - payment.refunded_minor
    w.change(invoice, amount_refunded_minor=invoice.amount_refunded_minor + more)
    status = payment.status
    if payment.settled_at is not None and refunded >= payment.received_minor:
        status = "refunded"
    elif status == "refunded":
        status = "completed" if payment.flow == "manual" else "succeeded"
    changed = w.change(payment, refunded_minor=refunded, status=status)
    if status == "refunded" != payment.status:
        named = ids.encode(ids.INVOICE, invoice.id)
        payments.announce(w, changed, "refunded", reason=reason, invoice_id=named)


def take_credits(w: Work[ReversalFacts], row: Refund | Dispute) -> None:
    """Claw back the share of credits that the money had paid for (docs/rules/purchases.md)."""
    asked = list(row.credits)
    for grant_key, amount in credits_due(w, row).items():
        asked.append({"grant_key": grant_key, "amount": show_decimal(amount)})
        w.do(Do(verbs.CLAWBACK, _clawback(row, grant_key, amount, len(asked))))
    if len(asked) > len(row.credits):
        w.change(row, credits=asked)


def credits_due(w: Work[ReversalFacts], row: Refund | Dispute) -> dict[str, Decimal]:
    """Return the credits to claw back of each grant, beyond earlier clawbacks."""
    if _keeps(row):
        return {}
    invoice = w.rows.get(Invoice, row.invoice_id)
    rows = reversals(w.rows, invoice)
    away = [one for one in rows if _counts(one)]
    noted = sum(one.noted_minor for one in away if not _keeps(one))
    later = _credited_of_later(w.rows, invoice, away)
    corrected = _corrected(w, invoice, away, later)
    reversed_minor = noted + _lost_price(w.rows, rows) + later + corrected
    price = _price_of_credits(w.rows, invoice, away)
    before = _asked(away)
    standing = _standing(w.rows)
    # Whoever has just found room takes the credits of its own note.
    others = [one for one in away if one.has_found_room and one.id != row.id and not _keeps(one)]
    due = {}
    for one in w.facts.granted:
        key = one.grant_key
        # What a change has clawed back is not taken again.
        gone = one.elsewhere + standing[key] - before[key]
        all_due = to_take(one.credits, reversed_minor, price, before[key], gone)
        theirs = (
            to_take(one.credits, other.noted_minor, price, _asked([other])[key], ZERO)
            for other in others
        )
        due[key] = all_due - sum(theirs)
    return {grant_key: amount for grant_key, amount in due.items() if amount > 0}


def granted(rows: Rows, lots: Iterable[Mapping[str, Any]]) -> Iterator[Granted]:
    """Yield the granted credits, of lots with what is `left` of them as the rows were read."""
    mine = _standing(rows)
    for one in lots:
        key, whole = one["grant_key"], Decimal(one["credits"])
        elsewhere = whole - Decimal(one["left"]) - mine[key]
        yield Granted(grant_key=key, credits=whole, elsewhere=elsewhere)


def is_late_grant_due(w: Work[ReversalFacts], row: Refund | Dispute) -> bool:
    """True if credits that came after the row was booked still bear none of its share."""
    if row.late_grant is None or row.booked_at is None or not row.takes_room:
        return False
    parts = (row.late_grant, keys.not_kept(row.late_grant))
    return any(key in parts for key in credits_due(w, row))


def _price_of_credits(rows: Rows, invoice: Invoice, away: list[Refund | Dispute]) -> int:
    """Return the part of the invoice's total that its credits cost.

    A note of tax alone does not make them cheaper: the rest of the invoice paid for them. Nor does
    money that went back because the price was too high, nor a note on what brought no credits.
    """
    written = [one for one in rows.of(CreditNote) if one.invoice_id == invoice.id]
    tax_alone = sum(one.amount_minor for one in written if one.amount_minor == one.tax_minor)
    others = (one for one in written if one.kind not in REVERSED)
    beside = sum(notes.beside_credits(rows, invoice, one) for one in others)
    kept = sum(one.note_minor for one in away if _keeps(one))
    return invoice.total_minor - tax_alone - beside - kept


def _lost_price(rows: Rows, reversed_: list[Refund | Dispute]) -> int:
    """Return what banks took of a price beyond the notes: what changes or notes had credited of it,
    and is spent. What went back twice is in the note of its refund.
    """
    lost = 0
    for payment_id in {one.payment_id for one in reversed_}:
        away = [one for one in reversed_ if one.payment_id == payment_id and one.takes_room]
        gone = sum(one.amount_minor for one in away if not _to_balance(one))
        twice = max(0, gone - rows.get(Payment, payment_id).received_minor)
        lost += max(0, sum(one.loss_minor for one in away if isinstance(one, Dispute)) - twice)
    return lost


def _corrected(
    w: Work[InvoiceFacts], invoice: Invoice, away: list[Refund | Dispute], later_minor: int
) -> int:
    """Return what went back of a price from the money balance, on which corrections had put it.

    Before that went what else the invoice's money had left there: a surplus, a debt, and time whose
    credits its note has clawed back. What a refund has put there is in its note, and what was not
    there any more is owed.
    """
    entries = [one for one in w.rows.of(BalanceEntry) if one.invoice_id == invoice.id]
    there = sum(one.amount_minor for one in entries if one.kind in (*KEPT, "credited"))
    debt = max(0, -invoice.balance_applied_minor)
    refunded = sum(one.note_minor for one in away if _to_balance(one))
    corrected = notes.corrected_to_balance(w.rows, invoice)
    others = there + debt - refunded - corrected
    paid_out = [one for one in away if not _to_balance(one) and not _keeps(one)]
    gone = sum(one.balance_minor for one in paid_out)
    owed = max(0, -invoices.money_balance(w, invoice.currency))
    return max(0, min(corrected, gone - others - later_minor - owed))


def _credited_of_later(rows: Rows, invoice: Invoice, away: list[Refund | Dispute]) -> int:
    """Return what refunds credited of later charges, which the invoice's money had paid: by notes
    on these or on the invoice. `placing` counts the notes on later charges alone.
    """
    written = notes_of(rows, [one for one in away if not _keeps(one)])
    return sum(one.amount_minor for one in written if not is_of(one, invoice))


def _to_balance(row: Refund | Dispute) -> bool:
    """True if its money went to the money balance, not to the payer."""
    return isinstance(row, Refund) and row.way == "balance"


def _asked(rows: list[Refund | Dispute]) -> defaultdict[str, Decimal]:
    """Sum the clawbacks of these rows by grant."""
    asked: defaultdict[str, Decimal] = defaultdict(Decimal)
    for taken in (taken for one in rows for taken in one.credits):
        asked[taken["grant_key"]] += Decimal(taken["amount"])
    return asked


def _standing(rows: Rows) -> defaultdict[str, Decimal]:
    """Sum the clawbacks that were not returned, by grant. A refund that failed, or a dispute that
    was won, after it was booked put its money on the balance: its credits stay clawed back.
    """
    back = (one for one in rows.of(Dispute) if not one.takes_room and one.booked_at is None)
    returned = {one.id for one in back}
    return _asked([one for one in all_reversals(rows) if one.id not in returned])


def _keeps(row: Refund | Dispute) -> bool:
    """True if the customer keeps the credits."""
    return isinstance(row, Refund) and row.keep_credits


def _counts(row: Refund | Dispute) -> bool:
    """True if its money went back; a refund under way does not count yet."""
    return row.takes_room and (isinstance(row, Dispute) or row.booked_at is not None)


def _clawback(
    row: Refund | Dispute, grant_key: str, amount: Decimal, number: int
) -> verbs.NewClawback:
    subject = subject_of(row)
    return {
        "account_id": row.account_id,
        "grant_key": grant_key,
        "amount": amount,
        "key": keys.clawback(subject, number),
        "reason": "refund" if isinstance(row, Refund) else "dispute",
        "subject": subject,
    }


def _went_back(rows: Rows, invoice: Invoice) -> bool:
    """True once nothing is left of what was paid for an invoice.

    Of its total something may be left that nobody paid: the odd part of a card's step.
    """
    if not left(rows, invoice).total_minor:
        return True
    settled = (one for one in rows.of(Payment) if one.settled_at is not None)
    found = {one.status for one in settled if booked_on(rows, one).id == invoice.id}
    return found == {"refunded"} and not invoice.balance_applied_minor


def _reason(row: Refund | Dispute) -> str:
    return row.reason if isinstance(row, Refund) else f"dispute lost: {row.reason}"


def end_purchase(w: Work[Facts], invoice: Invoice) -> None:
    """Mark a purchase as `refunded` once all its money went back: a part by a refund or dispute,
    the rest by those or by credit notes.
    """
    if not any(one.booked_at and one.takes_room for one in reversals(w.rows, invoice)):
        return
    for purchase in w.rows.of(Purchase):
        is_its = purchase.status == "completed" and purchase.invoice_id == invoice.id
        if is_its and _went_back(w.rows, invoice):
            w.change(purchase, status="refunded")
            subject = ids.encode(ids.PURCHASE, purchase.id)
            facts = {"purchase_id": subject, "credits": show_decimal(purchase.credits)}
            w.announce(purchase.account_id, "purchase.refunded", subject, facts)
