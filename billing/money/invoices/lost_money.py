"""Money that banks took by disputes and that has paid later invoices by their lines. Pure."""

from uuid import UUID

from billing.matters.effects import Rows
from billing.money.invoices import giving_back
from billing.money.invoices.schemas import Invoice, ReversalClaim


def unbacked(rows: Rows, invoice: Invoice) -> int:
    """Return the part of its credits for other invoices whose money disputes took, as our loss."""
    return sum(unbacked_by(rows, invoice).values())


def unbacked_by(rows: Rows, invoice: Invoice) -> dict[UUID, int]:
    """Return that part by the invoice whose money it was.

    Disputes took first what was left of the invoices whose money that was. Of several that credit
    one invoice the oldest bear its loss first, so that each cent is borne once.
    """
    found = {}
    for source_id, credited in giving_back.credited_by(rows, invoice).items():
        source = rows.find(Invoice, source_id)
        if source is not None:
            borne = _credited_before(rows, source, invoice)
            found[source_id] = max(0, min(credited.total_minor, _lost(rows, source) - borne))
    return found


def _credited_before(rows: Rows, source: Invoice, invoice: Invoice) -> int:
    """Return what older invoices than this one credit of a source."""
    crediting = {one.invoice_id for one in giving_back.crediting(rows, source.id)}
    older = (rows.get(Invoice, one) for one in crediting if one < invoice.id)
    return sum(giving_back.credited_by(rows, one)[source.id].total_minor for one in older)


def _lost(rows: Rows, invoice: Invoice) -> int:
    """Return what disputes took of it and of invoices that paid for it, beyond what is left."""
    claims = (one for one in rows.all() if isinstance(one, ReversalClaim))
    away = (one for one in claims if one.invoice_id == invoice.id and one.takes_room)
    beyond = unbacked(rows, invoice) - giving_back.left(rows, invoice).total_minor
    return sum(one.amount_minor - one.own_minor for one in away if one.is_placed) + max(0, beyond)
