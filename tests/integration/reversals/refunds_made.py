"""Refunds by operators, and what the customer sees of them."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Customer, Json

WHY = {"reason": "asked for by the customer"}


async def paid_for(customer: Customer) -> Json:
    """The newest payment that brought money."""
    payments = (await customer.ask("GET", "/billing/payments"))["data"]
    found: Json = next(one for one in payments if one["amount_received"])
    return found


async def refunded(
    customer: Customer, payment: Json, amount: int | None = None, *, key: str = "",
    status: int = 200, **more: Any,
) -> Json:  # fmt: skip
    """An operator's refund, by default with a key of its own."""
    body = WHY | more | ({"amount_cents": amount} if amount is not None else {})
    answer = await customer.actors.client.post(
        f"/api/v1/admin/payments/{payment['payment_id']}/refund",
        json=body,
        headers=customer.actors.headers("*", "admin", key or str(uuid4())),
    )
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


async def shown(customer: Customer, payment: Json) -> tuple[Json, Json]:
    """The payment and its invoice as the customer sees them."""
    now = await customer.ask("GET", f"/billing/payments/{payment['payment_id']}")
    return now, await customer.ask("GET", f"/billing/invoices/{payment['invoice_id']}")
