"""Acts in the provider's dashboard, of which it tells us by events alone."""

import httpx2

from tests.integration.actors import Customer


async def delete_customer(customer: Customer) -> str:
    """Delete the account's customer at the provider. Returns the id that it had there."""
    owner = await customer.stripe_customer()
    await _act(customer, "DELETE", f"/v1/customers/{owner}")
    return owner


async def remove_card(customer: Customer, card: str) -> None:
    """Remove a card of the account at the provider."""
    await _act(customer, "POST", f"/v1/payment_methods/{card}/detach")


async def cancel_refund(customer: Customer, refund: str) -> None:
    """Cancel a refund that waits for its payer."""
    await _act(customer, "POST", f"/v1/refunds/{refund}/cancel")


async def _act(customer: Customer, method: str, path: str) -> None:
    base_url = customer.actors.sandbox.base_url
    async with httpx2.AsyncClient(base_url=base_url, trust_env=False) as client:
        key = {"Authorization": "Bearer sk_test_sandbox"}
        answer = await client.request(method, path, headers=key)
    assert answer.status_code == 200, answer.text
