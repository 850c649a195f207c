"""Uses that are paid later, and credits that come to pay them."""

from typing import Final

from tests.integration.actors import Customer, Json
from tests.integration.waiting import wait_for

LATER: Final = {"product_id": "gpt-4", "on_insufficient": "defer"}


async def put_off(customer: Customer, amount: str) -> str:
    """A use of gpt-4, 0.002 credits or USD a unit, to be paid later: its record's path."""
    done = await customer.ask("POST", "/usage/record", LATER | {"usage_amount": amount}, status=201)
    assert done["billing_status"] == "pending"
    return f"/billing/records/{done['billing_id']}"


async def until(customer: Customer, path: str, wanted: str) -> Json:
    return await wait_for(
        lambda: customer.ask("GET", path), f"{path} is {wanted}",
        lambda seen: seen["billing_status"] == wanted,
    )  # fmt: skip
