"""The desk where money sent by hand is submitted by payers and decided on by operators."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Json, Merchant

SUBMIT = "/billing/payments/manual"


async def submit(merchant: Merchant, invoice: str, **fields: Any) -> Json:
    """Say that money was sent for an invoice."""
    body = {
        "invoice_id": invoice,
        "payment_method": "bank_transfer",
        "transaction_reference": f"TRX-{uuid4()}",
    }
    return await merchant.ask("POST", SUBMIT, body | fields, status=201)


async def decide(merchant: Merchant, payment: Json, verb: str, **fields: Any) -> Json:
    """Approve or reject as an operator."""
    return await merchant.actors.operate(
        "POST", f"/admin/payments/{payment['payment_id']}/{verb}", fields, status=200
    )


async def invoice_of(merchant: Merchant, name: str) -> Json:
    """One invoice as its payer sees it."""
    return await merchant.ask("GET", f"/billing/invoices/{name}", status=200)


async def balance(merchant: Merchant) -> int:
    """The customer's money with us, in minor units."""
    rows = await merchant.rows(
        "SELECT coalesce(sum(amount_minor), 0)::bigint AS sum FROM balance_entries"
        " WHERE account_id = %(me)s"
    )
    return int(rows[0]["sum"])
