"""The money of a customer, as the card, the balance and the invoices show it."""

from tests.integration.actors import Customer, Json


async def charged(customer: Customer) -> list[int]:
    """Amounts that the sandbox took from the card, in order."""
    return [effect["amount"] for effect in await customer.effects()]


async def money(customer: Customer) -> int:
    """The customer's money balance, in cents."""
    return int((await customer.ask("GET", "/billing/balance"))["balance_cents"])


async def newest_invoice(customer: Customer) -> Json:
    """The newest invoice, whole."""
    (first, *_) = (await customer.ask("GET", "/billing/invoices?limit=1"))["data"]
    return await customer.ask("GET", f"/billing/invoices/{first['invoice_id']}")
