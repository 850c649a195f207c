"""A use that is dated back finds its time given back by what was asked for a moment before."""

import asyncio
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.changes.chosen_plans import begun
from tests.integration.changes.test_given_back import IN_JANUARY, dated
from tests.integration.locked import held, waiting
from tests.integration.money_seen import money
from tests.integration.on_sale import Sell
from tests.integration.operator_acts import give

NOW: Json = {"at": "now", "refund": "credit"}


async def paid_by(customer: Customer, way: str, sell: Sell) -> Json:
    """The fields of a use whose rest beyond the allowance a hold or a card would pay."""
    if way == "hold":
        await give(customer, "1")
        held = await customer.ask("POST", "/billing/credits/holds", {"amount": "1"}, status=201)
        return {"hold_id": held["hold_id"]}
    if way == "card":
        product = await sell("ai_responses", {"USD": "0.02"})
        return {"product_id": product, "billing_method": "payment_charge"}
    return {}


@pytest.mark.parametrize("way", ["", "hold", "card"])
@pytest.mark.parametrize("path", ["/usage/record", "/usage/batch"])
async def test_a_use_behind_an_end_is_refused(
    actors: Actors, sell: Sell, path: str, way: str
) -> None:
    customer = await begun(actors)
    paid = await paid_by(customer, way, sell)
    await customer.advance(days=1)
    use = dated(IN_JANUARY, "500", event_id=str(uuid4())) | paid
    body = use if path.endswith("record") else {"events": [use]}
    async with held(customer):
        gone = asyncio.create_task(customer.call("POST", "/billing/subscription/cancel", NOW))
        await waiting(customer, 1)
        used = asyncio.create_task(customer.call("POST", path, body, role="billing"))
        await waiting(customer, 2)
    assert (await gone).status_code == 200
    answer = (await used).json()
    assert answer.get("code", answer.get("results", [{}])[0].get("code")) == "EVENT_TOO_OLD"
    assert await money(customer) == 1839, "30 of 31 days"


async def test_a_use_before_an_end_counts_as_used(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(days=1)
    body = dated(IN_JANUARY, "500", event_id=str(uuid4()))
    async with held(customer):
        used = asyncio.create_task(customer.call("POST", "/usage/record", body, role="billing"))
        await waiting(customer, 1)
        gone = asyncio.create_task(customer.call("POST", "/billing/subscription/cancel", NOW))
        await waiting(customer, 2)
    assert (await used).status_code == 201
    assert (await gone).status_code == 200
    assert await money(customer) == 0
