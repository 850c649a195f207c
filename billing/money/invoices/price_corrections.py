"""Notes on a line whose price was published by mistake. Pure."""

from typing import Final
from uuid import UUID

from billing.matters.effects import Rows
from billing.money.invoices.giving_back import OF, is_of
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine, NoteKind

KIND: Final[NoteKind] = "wrong_price"


def suffix(price_id: UUID, position: int) -> str:
    """Return the key suffix of a line's correction, equal for every try: a line is corrected once
    for each wrong price.
    """
    return f"price-{price_id.hex}-{position}"


def noted(rows: Rows, line: InvoiceLine) -> int:
    """Return what was credited of a line, also by notes on the invoices whose money paid it."""
    invoice = rows.get(Invoice, line.invoice_id)
    notes = (one for one in rows.of(CreditNote) if one.kind == KIND and is_of(one, invoice))
    return sum(one.amount_minor for one in notes if _position(one) == line.position)


def _position(note: CreditNote) -> int:
    """Return the position of the corrected line; a note on another invoice does not list it."""
    return int(note.fact_key.partition(OF)[0].rpartition("-")[2])
