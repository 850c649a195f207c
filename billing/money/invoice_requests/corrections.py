"""An operator's corrections of an invoice: voided, uncollectible, credited. Pure."""

from typing import Any, Literal, NamedTuple
from uuid import UUID

from billing.core.currencies import collectable
from billing.core.errors import Conflict
from billing.matters.effects import Facts, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.dunning import cases, settling
from billing.money.invoices import giving_back, notes
from billing.money.invoices import transitions as invoices
from billing.money.invoices.arrears import SINGLE_USE, USAGE
from billing.money.invoices.note_shares import payers, reserved
from billing.money.invoices.notes import NewNote, Settlement
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import CHARGED, Invoice, NoteKind
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed
from billing.money.refunds.remaining import creditable
from billing.money.reversals import booking
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.facts import subscription_of

Destination = Literal["debt", "balance"]


class LeftOfUse(NamedTuple):
    """The part of a use's price that a credit note can still credit."""

    amount_minor: int
    waits: bool
    """True while a refund or dispute may take the rest of it, and may not."""


def void(w: Work[Any], invoice_id: UUID, *, reason: str) -> None:
    """Void an invoice; its subscription goes on. Errors: INVOICE_STATE, PAYMENT_PENDING."""
    cases.demand_no_money_on_its_way(w, invoice_id)
    invoice = w.rows.get(Invoice, invoice_id)
    if giving_back.crediting(w.rows, invoice_id):
        # That one would keep the money, and the balance would have it too.
        why = "and whose money pays another one cannot be voided; credit what is left of it"
        raise wrong_status(invoice, why)
    if reserved(w.rows, invoice):
        # Its money would go to the balance now, and to the payer when that is decided.
        raise Conflict(
            "PAYMENT_PENDING",
            "a refund or dispute of this invoice is undecided; retry once it is decided",
        )
    voided = notes.void_numbered(w, invoice, reason)
    payments.close_submissions(w, invoice_id)
    cases.close_case(w, invoice_id, "canceled", reason)
    if _is_subscriptions(voided):
        payment_effects.recover(w)


def mark_uncollectible(w: Work[Any], invoice_id: UUID, *, reason: str) -> None:
    """Give up an invoice; its subscription goes on. Errors: INVOICE_STATE, PAYMENT_PENDING."""
    cases.demand_no_money_on_its_way(w, invoice_id)
    invoice = w.rows.get(Invoice, invoice_id)
    if invoice.status != "open":
        raise wrong_status(invoice, "cannot be marked uncollectible")
    is_unpaid = _is_subscriptions(invoice) and subscription_of(w).status == "unpaid"
    if is_unpaid and cases.case_of(w.rows, invoice_id) is None:
        # It stays so because of cases that were closed since.
        cases.open_case(w, Owed(w.rows, invoice_id), day_zero_at=w.facts.at)
    cases.close_case(w, invoice_id, "exhausted", reason)
    marked = invoices.mark_uncollectible(w, invoice)
    if _is_subscriptions(marked):
        payment_effects.recover(w)


def credit(
    w: Work[InvoiceFacts],
    invoice_id: UUID,
    *,
    amount: int,
    lines: tuple[dict[str, Any], ...],
    reason: str,
    to: Destination,
    suffix: str,
    kind: NoteKind = "operator",
    tries: bool,
) -> None:
    """Credit a part of an invoice, once per `suffix`; with nothing left to pay it counts as paid.

    That of a voided use does not wait for money on its way; `tries`: one may be under way. Errors:
    INVOICE_STATE, CREDIT_NOTE_TOO_LARGE, PAYMENT_PENDING if it is on all that is owed, or leaves
    too little for a card.
    """
    if notes.is_written(w, w.rows.get(Invoice, invoice_id), suffix):
        return
    before = _creditable(w, invoice_id)
    left = left_of(w, invoice_id, to=to)
    if amount > left:
        raise Conflict(
            "CREDIT_NOTE_TOO_LARGE",
            left_cents=left,
        )
    if to == "debt" and _settles(before, amount) and kind != "voided_use":
        cases.demand_no_money_on_its_way(w, invoice_id, tries=tries)
    settlement: Settlement = "credited" if lines else "forgiven"
    note = NewNote(kind, amount, reason, suffix, lines, was_served=not lines, settlement=settlement)
    after = settling.credit_note(w, before, note, to_balance=to == "balance")
    _end_with_note(w, before, after)


def credit_tax(
    w: Work[InvoiceFacts], invoice_id: UUID, *, country: str, reason: str, suffix: str
) -> None:
    """Credit the tax of a country that the invoice added to its prices, as far as it is left.

    There is one note for it: while a refund, a dispute or a waiting change may take a part of it,
    the note is not written, and is requested again when that is decided. Errors: INVOICE_STATE.
    """
    before = _creditable(w, invoice_id)
    if giving_back.waits(w.rows, before):
        return
    owed = giving_back.added_by(giving_back.left(w.rows, before), country)
    part = owed.up_to(creditable(w.rows, before))
    if part.total_minor < owed.total_minor and _is_reserved(w, before):
        return
    after = settling.credit_tax(w, before, part, reason, suffix)
    _end_with_note(w, before, after)


def left_of(w: Work[Facts], invoice_id: UUID, *, to: Destination) -> int:
    """Return the part of the invoice that a credit note can still credit."""
    invoice = w.rows.get(Invoice, invoice_id)
    left = creditable(w.rows, invoice)
    if to == "balance":  # only money that was paid, not what is still owed
        left -= invoice.outstanding_minor
    return max(0, left)


def left_of_use(w: Work[Facts], invoice_id: UUID, *, amount: int, to: Destination) -> LeftOfUse:
    """Return how much of this amount of its use a credit note can still credit."""
    invoice = w.rows.get(Invoice, invoice_id)
    lines = invoices.lines_of(w.rows, invoice_id)
    used = giving_back.of_lines([one for one in lines if one.kind in (USAGE, SINGLE_USE)])
    most = used.up_to(amount).within(giving_back.left(w.rows, invoice)).total_minor
    left = min(most, left_of(w, invoice_id, to=to))
    return LeftOfUse(left, waits=left < most and _is_reserved(w, invoice))


def _settles(invoice: Invoice, amount: int) -> bool:
    """True if nothing is left to collect after a credit: what no card can be charged is carried."""
    rest = invoice.remaining_minor - amount
    is_carried = invoice.status == "open" and not collectable(rest, invoice.currency)
    return invoice.is_owed and (rest <= 0 or is_carried)


def _is_reserved(w: Work[Facts], invoice: Invoice) -> bool:
    """True while a refund or dispute may take money of the invoice, or of those that paid it."""
    return any(reserved(w.rows, one) for one in payers(w.rows, invoice))


def _creditable(w: Work[Facts], invoice_id: UUID) -> Invoice:
    """Return the invoice. Errors: INVOICE_STATE if it cannot be credited."""
    invoice = w.rows.get(Invoice, invoice_id)
    if invoice.status not in CHARGED:
        raise wrong_status(invoice, "cannot be credited")
    return invoice


def _end_with_note(w: Work[Any], before: Invoice, after: Invoice) -> None:
    """End what a note ends: a purchase whose money is all back, the debt of a subscription."""
    booking.end_purchase(w, after)
    is_settled = after.status == "paid" and before.status != "paid"
    if is_settled and _is_subscriptions(after):
        payment_effects.on_paid(w, after)


def _is_subscriptions(invoice: Invoice) -> bool:
    """True if its subscription collects it, and not a matter of its own: the decision then has the
    facts of a subscription, which only its `Work[Any]` admits.
    """
    return invoice.workflow_id.startswith(f"{SUBSCRIPTION.name}/")
