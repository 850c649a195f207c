"""Operators' commands on invoices."""

from uuid import uuid4

from tests.integration.actors import Customer, Json


async def commanded(
    customer: Customer, invoice: Json, verb: str, body: Json, *, key: str = "", status: int = 200
) -> Json:
    """An operator's command on an invoice, by default with a key of its own."""
    answer = await customer.actors.client.post(
        f"/api/v1/admin/invoices/{invoice['invoice_id']}/{verb}",
        json=body,
        headers=customer.actors.headers("*", "admin", key or str(uuid4())),
    )
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found
