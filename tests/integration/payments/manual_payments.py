"""Money sent by hand, submitted by payers and decided on by operators."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Customer, Json

SUBMIT = "/billing/payments/manual"


async def submit(customer: Customer, invoice: str, **fields: Any) -> Json:
    """Say that money was sent for an invoice."""
    body = {
        "invoice_id": invoice,
        "payment_method": "bank_transfer",
        "transaction_reference": f"TRX-{uuid4().hex[:10]}",
    }
    return await customer.ask("POST", SUBMIT, body | fields, status=201)


async def decide(customer: Customer, payment: Json, verb: str, **fields: Any) -> Json:
    """Approve or reject as an operator."""
    return await customer.actors.operate(
        "POST", f"/admin/payments/{payment['payment_id']}/{verb}", fields, status=200
    )


async def invoice_of(customer: Customer, name: str) -> Json:
    """One invoice as its payer sees it."""
    return await customer.ask("GET", f"/billing/invoices/{name}", status=200)
