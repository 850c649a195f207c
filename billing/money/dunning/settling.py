"""Credit notes that may take all an invoice owes, and so end its dunning case. Pure.

Every note of ours that may settle an open invoice is written here: no case outlives its debt. One
that forgives is not: it has ended the case before (`cases.forgive`).
"""

from billing.matters.effects import Work
from billing.money.dunning import cases
from billing.money.invoices import notes
from billing.money.invoices.giving_back import Part
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.transitions import InvoiceFacts


def credit_note(
    w: Work[InvoiceFacts],
    invoice: Invoice,
    note: NewNote,
    *,
    to_balance: bool = False,
    ends: str | None = None,
) -> Invoice:
    """Credit part or all of an invoice, as `notes.credit_note` does; what it settles is recovered
    no longer. `ends` is the reason of that, if it is another than the note's.
    """
    after = notes.credit_note(w, invoice, note, to_balance=to_balance)
    return _settled(w, invoice, after, ends or note.reason)


def credit_tax(
    w: Work[InvoiceFacts], invoice: Invoice, part: Part, reason: str, suffix: str
) -> Invoice:
    """Credit known taxes of an invoice, likewise."""
    return _settled(w, invoice, notes.credit_tax(w, invoice, part, reason, suffix), reason)


def _settled(w: Work[InvoiceFacts], before: Invoice, after: Invoice, reason: str) -> Invoice:
    if after.status == "paid" and before.status != "paid":
        closed = "forgiven" if after.settlement == "forgiven" else "canceled"
        cases.close_case(w, after.id, closed, reason)
    return after
