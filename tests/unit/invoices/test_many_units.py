"""Lines of more units than 28 digits hold with their twelve decimals, as tokens or bytes are."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from billing.catalog.rating.schemas import PriceTerms
from billing.matters.effects import Rows, Work
from billing.money.invoices import arrears, usage_lines
from billing.money.invoices.arrears import Arrear
from billing.money.invoices.schemas import InvoiceLine, NewInvoice
from billing.money.invoices.transitions import InvoiceFacts, draft

START, END = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
ME = UUID(int=1)
UNITS = Decimal("12345678901234567.123456789012")
PRICE = Decimal("0.000000000001")
USED: dict[str, Any] = {
    "start_at": START, "end_at": END, "zone": "UTC", "currency": "USD", "meter": "bytes",
    "name": "Bytes", "unit": "byte", "quantity": UNITS, "overage": UNITS,
    "overage_total": Decimal("12345.678901234567"), "events": 1, "sold": "pro",
    "tax_category": "standard",
}  # fmt: skip


def drafted(used: Arrear) -> tuple[Rows, list[InvoiceLine]]:
    """A draft of what is owed for the use: its rows, and its lines."""
    ids = count(2)
    facts = InvoiceFacts(at=END, real_at=END, new_id=lambda: UUID(int=next(ids)))
    rows = Rows()
    lines = arrears.lines(rows, (used,), before=END)
    draft(Work(rows, facts), NewInvoice(
        account_id=ME, issuer_id=None, workflow_id="subscription/x", fact_key="x",
        currency="USD", lines=lines))  # fmt: skip
    return rows, list(rows.of(InvoiceLine))


def test_a_line_holds_every_digit_of_its_units() -> None:
    used = Arrear(**USED, terms=PriceTerms(unit_price=PRICE))
    rows, [line] = drafted(used)
    assert (line.quantity, line.amount_minor) == (UNITS, 1234568)
    assert line.detail["used"] == str(UNITS)
    assert arrears.lines(rows, (used,), before=END) == (), "all of it is billed"


def test_what_lines_of_the_decision_billed_is_taken_out_to_the_last_digit() -> None:
    rows, [line] = drafted(Arrear(**USED, terms=PriceTerms(unit_price=PRICE)))
    billed = {
        "billed_units": Decimal("12345678901234567.623456789012"),
        "billed_total": Decimal(line.detail["accrued"]),
        "billed_minor": line.amount_minor,
        "billed_early": False,
    }
    row = USED | billed | {"included": Decimal(0), "terms": str(PRICE)}
    (left,) = usage_lines.owed([row], rows)
    found = (left.billed_units, left.billed_total, left.billed_minor)
    assert found == (Decimal("0.5"), Decimal(0), 0)
