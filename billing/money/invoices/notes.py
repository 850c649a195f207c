"""Credit notes: numbered corrections of invoices, with the tax that they give back. Pure."""

from typing import Any, Final

from billing.core import ids
from billing.core.errors import Conflict
from billing.matters.effects import Add, Issue, Work
from billing.money.invoices import giving_back, transitions
from billing.money.invoices.giving_back import Part
from billing.money.invoices.note_taxes import taxes_of_note
from billing.money.invoices.schemas import CreditNote, Invoice
from billing.money.invoices.transitions import OWED, InvoiceFacts

CREDIT_NOTE_SERIES: Final = "CN"


def credit_note(
    w: Work[InvoiceFacts],
    invoice: Invoice,
    amount_minor: int,
    reason: str,
    suffix: str,
    *,
    to_balance: bool = False,
    lines: tuple[dict[str, Any], ...] = (),
    part: Part | None = None,
) -> Invoice:
    """Take back part or all of a numbered invoice, once per `suffix`; a known `part` with its tax.

    What is still owed falls by it, unless it goes `to_balance`, and the rest of the note, paid
    already, goes to the money balance. An invoice with nothing left to collect is `forgiven`.
    """
    fact_key = f"{ids.encode(ids.INVOICE, invoice.id)}/{suffix}"
    if amount_minor <= 0 or any(one.fact_key == fact_key for one in w.rows.of(CreditNote)):
        return invoice
    credited = 0 if to_balance else min(invoice.remaining_minor, amount_minor)
    fields: dict[str, Any] = {"amount_credited_minor": invoice.amount_credited_minor + credited}
    if invoice.status in OWED and credited == invoice.remaining_minor:
        fields |= {"status": "paid", "paid_at": w.facts.at, "settlement": "forgiven"}
    changed = w.change(invoice, **fields)
    if credited < amount_minor:
        transitions.add_balance(w, invoice, "credited", amount_minor - credited, part=f"-{suffix}")
    transitions.announce(w, changed, "credited", amount_minor=amount_minor, reason=reason)
    _issue_note(w, invoice, amount_minor, reason, fact_key, lines, part)
    return changed


def void_numbered(w: Work[InvoiceFacts], invoice: Invoice, reason: str) -> Invoice:
    """Take back all of an invoice that is not paid, by a note for what was not credited before.

    What was paid of it, or came from the money balance, goes there; what had been carried to it
    from there is owed there again. Errors: INVOICE_STATE.
    """
    notes = (one for one in w.rows.of(CreditNote) if one.invoice_id == invoice.id)
    amount = invoice.total_minor - sum(one.amount_minor for one in notes)
    if invoice.status not in OWED or amount <= 0:
        raise Conflict(
            "INVOICE_STATE",
            f"an invoice that is {invoice.status} cannot be voided",
            invoice_status=invoice.status,
        )
    credited = invoice.remaining_minor
    voided = w.change(
        invoice,
        amount_credited_minor=invoice.amount_credited_minor + credited,
        status="void",
        voided_at=w.facts.at,
    )
    if credited != amount:
        transitions.add_balance(w, invoice, "credited", amount - credited, part="-void")
    transitions.announce(w, voided, "voided", reason=reason)
    fact_key = f"{ids.encode(ids.INVOICE, invoice.id)}/void"
    _issue_note(w, invoice, amount, reason, fact_key)
    return voided


def reverse(
    w: Work[InvoiceFacts], invoice: Invoice, amount_minor: int, reason: str, suffix: str
) -> None:
    """Take back a part of a numbered invoice whose money went back to its payer, once."""
    fact_key = f"{ids.encode(ids.INVOICE, invoice.id)}/{suffix}"
    transitions.announce(w, invoice, "credited", amount_minor=amount_minor, reason=reason)
    _issue_note(w, invoice, amount_minor, reason, fact_key)


def _issue_note(
    w: Work[InvoiceFacts],
    invoice: Invoice,
    amount_minor: int,
    reason: str,
    fact_key: str,
    lines: tuple[dict[str, Any], ...] = (),
    part: Part | None = None,
) -> None:
    left = giving_back.left(w.rows, invoice)
    if part is not None:
        taxes = part.as_rows
    else:
        charged = transitions.lines_of(w.rows, invoice.id)
        taxes = taxes_of_note(left, amount_minor, charged, lines)
    note = CreditNote(
        id=w.facts.new_id(),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        fact_key=fact_key,
        series=transitions.series_of(w.facts, invoice, CREDIT_NOTE_SERIES),
        reason=reason,
        amount_minor=amount_minor,
        currency=invoice.currency,
        lines=list(lines),
        tax_minor=sum(one["amount_minor"] for one in taxes),
        taxes=taxes,
        created_at=w.facts.at,
    )
    w.do(Issue(Add(note), note.series))
