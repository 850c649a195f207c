"""Shares of a credit: of an invoice, and of the invoices whose money paid it. Pure.

An invoice that credits time of earlier ones charged more than its total: their money paid the rest.
So the notes on it never exceed its total, or what it asks for with a debt that was carried to it;
the rest is a note on them (docs/rules/invoices.md).
"""

from collections.abc import Iterator
from uuid import UUID

from billing.matters.effects import Rows
from billing.money.invoices import giving_back, lost_money
from billing.money.invoices.schemas import Invoice, ReversalClaim


def reservations(rows: Rows) -> list[ReversalClaim]:
    """Return the refunds and disputes whose notes may still be written."""
    return [one for one in rows.all() if isinstance(one, ReversalClaim) and one.is_reserved]


def reserved(rows: Rows, invoice: Invoice) -> int:
    """Return the part of an invoice that a refund or dispute may still credit."""
    return sum(one.note_minor for one in reservations(rows) if one.invoice_id == invoice.id)


def unreserved_room(rows: Rows, invoice: Invoice) -> int:
    """Return the part of an invoice that notes may still credit, without what is reserved."""
    free = giving_back.room(rows, invoice).total_minor - reserved(rows, invoice)
    return max(0, free)


def shares(
    rows: Rows, invoice: Invoice, amount_minor: int, *, kept_minor: int = 0, owed_minor: int = 0
) -> dict[UUID, int]:
    """Return each invoice's share of an amount; `kept_minor` of this one is not touched. What it
    takes off the `owed_minor` is its own, also beyond its total: a debt was carried to it.
    """
    own = min(amount_minor, owed_minor)
    found: dict[UUID, int] = {invoice.id: own}
    _share_out(rows, invoice, amount_minor - own, found, kept_minor)
    return found


def _share_out(
    rows: Rows, invoice: Invoice, amount_minor: int, found: dict[UUID, int], kept_minor: int = 0
) -> int:
    """Add to `found` what fits on this invoice and on those that paid for it; return that part."""
    had = found.get(invoice.id, 0)
    own = max(0, min(amount_minor, unreserved_room(rows, invoice) - kept_minor - had))
    if own:
        found[invoice.id] = had + own
    left = amount_minor - own
    for source_id, most_minor in _paid_by(rows, invoice):
        source = rows.find(Invoice, source_id)
        if left > 0 and source is not None:
            left -= _share_out(rows, source, min(left, most_minor), found)
    return amount_minor - left


def _paid_by(rows: Rows, invoice: Invoice) -> Iterator[tuple[UUID, int]]:
    """Yield the invoices whose money paid this one, each with the amount: first the money that is
    here, then what banks took. A note on what is lost would leave as much more to credit.
    """
    lost = lost_money.unbacked_by(rows, invoice)
    for source_id, credited in giving_back.credited_by(rows, invoice).items():
        yield source_id, credited.total_minor - lost.get(source_id, 0)
    yield from lost.items()


def payers(rows: Rows, invoice: Invoice) -> list[Invoice]:
    """Return the invoice, and those whose money paid it by its lines or by lines of those."""
    found = [invoice]
    for one in found:
        sources = (rows.find(Invoice, source) for source in giving_back.credited_by(rows, one))
        found += [source for source in sources if source is not None and source not in found]
    return found
