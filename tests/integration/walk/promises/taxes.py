"""Taxes: asked on all that is charged, and given back with it."""

from collections.abc import Iterator
from decimal import Decimal

from tests.integration.walk.diary import Json
from tests.integration.walk.evidence import Case


def tax_follows(case: Case) -> Iterator[str]:
    """The tax of what stays of an invoice is its percent, but for what rounding added."""
    percent = Decimal(case.life.tax)
    for invoice in case.tables["invoices"]:
        if invoice["number"] is None:
            continue
        lines, notes = case.lines(invoice), case.rows("credit_notes", invoice_id=invoice["id"])
        tax = int(invoice["tax_minor"]) - sum(int(one["tax_minor"]) for one in notes)
        total = int(invoice["total_minor"]) - sum(int(one["amount_minor"]) for one in notes)
        wanted = Decimal(total) * percent / (100 + percent)
        if abs(tax - wanted) > Decimal(len(lines) + len(notes)) / 2 + 1:
            yield f"{invoice['number']}: {tax} of tax in {total}, not {wanted:.2f}"
        yield from _sums(invoice, lines, notes)


def _sums(invoice: Json, lines: list[Json], notes: list[Json]) -> Iterator[str]:
    for what, rows in (("lines", lines), ("credit notes", notes)):
        for row in rows:
            parts = sum(int(one["amount_minor"]) for one in row["taxes"])
            if parts != int(row["tax_minor"]):
                said = f"{what} with {row['tax_minor']} of tax in {row['taxes']}"
                yield f"{invoice['number']}: {said}"
    if sum(int(one["tax_minor"]) for one in lines) != int(invoice["tax_minor"]):
        yield f"{invoice['number']}: {invoice['tax_minor']} of tax, and its lines have another"
