"""Money that goes back without us, once its consequences are there."""

from decimal import Decimal

from tests.integration.actors import Actors, Customer, Json, wait_for


async def until_credits(customer: Customer, expected: str) -> None:
    """The balance of credits comes to this."""
    await wait_for(
        customer.credits, f"{expected} credits", lambda found: found == Decimal(expected)
    )


async def disputed(actors: Actors, customer: Customer, status: str) -> Json:
    """The customer's one dispute, once it has this status."""

    async def newest() -> Json:
        path = f"/admin/disputes?account_id={customer.id}"
        found = (await actors.operate("GET", path))["data"]
        return dict(found[0]) if found else {"status": None}

    return await wait_for(newest, f"a dispute is {status}", lambda seen: seen["status"] == status)
