"""Uses beyond what the plan basic includes, and what is billed for them."""

from datetime import date
from typing import Any

from tests.integration.actors import Customer, Json

START = "2027-01-01T10:00:00Z"
RENEWAL = "2027-02-01T10:00:00Z"


async def use(customer: Customer, amount: str, at: str | None = None, **more: Any) -> Json:
    """Answers of AI, which the plan basic includes 500 of and sells at 0.02 beyond."""
    body = {"feature_type": "ai_responses", "usage_amount": amount} | more
    return await customer.ask(
        "POST", "/usage/record", body | ({"occurred_at": at} if at else {}), status=201
    )


async def lines(customer: Customer, kind: str = "usage") -> list[tuple[date, str, float, int]]:
    """Issue day of the invoice, meter, units and cents of every line, oldest first."""
    rows = await customer.rows(
        "SELECT i.issued_on, l.detail ->> 'meter' AS meter, l.quantity, l.amount_minor"
        " FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id"
        " WHERE l.account_id = %(me)s AND l.kind = %(kind)s"
        " ORDER BY i.created_at, i.id, l.position",
        kind=kind,
    )
    return [(r["issued_on"], r["meter"], float(r["quantity"]), r["amount_minor"]) for r in rows]


async def records(customer: Customer) -> list[tuple[str, str, str]]:
    """Kind, status and amount of the records that cost money, oldest first."""
    rows = await customer.rows(
        "SELECT kind, billing_status, total_amount FROM billing_records"
        " WHERE account_id = %(me)s AND currency <> 'CREDIT' ORDER BY created_at, id"
    )
    return [(r["kind"], r["billing_status"], f"{r['total_amount'].normalize():f}") for r in rows]
