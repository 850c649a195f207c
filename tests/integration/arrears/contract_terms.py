"""Contracts of customers, and what the end of their period will bill."""

from tests.integration.actors import Customer, Json

PRICE: Json = {
    "plan": "basic", "interval": "month", "currency": "USD", "amount_cents": 1500,
    "minimum_cents": 2500,
}  # fmt: skip


async def agree(customer: Customer, **body: object) -> Json:
    path = f"/admin/accounts/{customer.id}/contract"
    return await customer.actors.operate("PUT", path, body, status=200)


async def coming(customer: Customer) -> list[tuple[str, int]]:
    """Kinds and cents of the lines that the end of the period writes."""
    shown = await customer.ask("GET", "/billing/subscription/upcoming")
    return [(one["kind"], one["amount"]) for one in shown["invoice"]["lines"]]
