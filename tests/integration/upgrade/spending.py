"""The work of a customer's programs, over the HTTP of whichever release answers."""

from decimal import Decimal
from typing import Any

from tests.integration.actors import Customer

USE: dict[str, Any] = {"usage_amount": "100", "product_id": "gpt-4"}
HOLDS = "/billing/credits/holds"


async def use(customer: Customer) -> str:
    """One use that credits pay; its id."""
    done = await customer.ask("POST", "/usage/record", USE, status=201)
    assert done["billing_status"] == "completed", done
    return str(done["billing_id"])


async def defer(customer: Customer) -> str:
    """One use whose payment is put off; its id."""
    body = USE | {"on_insufficient": "defer"}
    done = await customer.ask("POST", "/usage/record", body, status=201)
    assert done["billing_status"] == "pending", done
    return str(done["billing_id"])


async def use_many(customer: Customer) -> None:
    """Uses of one batch."""
    done = await customer.ask("POST", "/usage/batch", {"events": [USE] * 3})
    assert {one["status"] for one in done["results"]} == {"recorded"}, done


async def hold(customer: Customer, amount: str = "3") -> str:
    """Credits set aside; the hold's id."""
    return str((await customer.ask("POST", HOLDS, {"amount": amount}, status=201))["hold_id"])


async def capture(customer: Customer, hold_id: str, amount: str = "1") -> None:
    """Part of a hold spent."""
    done = await customer.ask("POST", f"{HOLDS}/{hold_id}/capture", {"amount": amount})
    assert Decimal(done["captured"]) == Decimal(amount)


async def use_held(customer: Customer, hold_id: str) -> None:
    """A use that a hold pays."""
    done = await customer.ask("POST", "/usage/record", USE | {"hold_id": hold_id}, status=201)
    assert done["billing_status"] == "completed", done


async def spend(customer: Customer) -> None:
    """One of each."""
    await use(customer)
    await use_many(customer)
    await capture(customer, await hold(customer))
    await use_held(customer, await hold(customer))
    released = await hold(customer)
    await customer.ask("POST", f"{HOLDS}/{released}/release", {})
