"""Few credits left: told once per crossing, however they are spent and however many spend them."""

import asyncio
from typing import Any

from tests.integration.actors import Actors, Customer
from tests.integration.credits.test_hold_routes import funded, held
from tests.integration.operator_acts import give

PATH = "/billing/credits/low-balance"
LOW, EMPTY = "evt.billing.credits.low", "evt.billing.credits.empty"


async def told(customer: Customer) -> list[str]:
    return [type_ for type_ in await customer.published() if type_ in (LOW, EMPTY)]


async def use(customer: Customer, amount: str, **more: Any) -> None:
    """Uses of gpt-4 cost 2 credits per thousand."""
    body = {"product_id": "gpt-4", "usage_amount": amount} | more
    await customer.ask("POST", "/usage/record", body, status=201)


async def test_a_crossing_is_told_once_and_again_only_after_the_next_one(actors: Actors) -> None:
    customer = await funded(actors, "10")
    assert await customer.ask("GET", PATH) == {"threshold": None}
    assert await customer.ask("PUT", PATH, {"threshold": "5"}) == {"threshold": "5.00"}
    assert await customer.ask("GET", PATH) == {"threshold": "5.00"}
    await use(customer, "2000")
    assert await told(customer) == []
    await use(customer, "1000")
    await use(customer, "500")
    assert await told(customer) == [LOW]
    await give(customer, "10")
    rows = [{"product_id": "gpt-4", "usage_amount": "1000"}] * 5
    await customer.ask("POST", "/usage/batch", {"events": rows})
    assert await told(customer) == [LOW, LOW]
    (event, _) = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s AND type = %(t)s ORDER BY seq", t=LOW
    )
    assert event["data"] == {"account_id": customer.id, "balance": "4.00", "threshold": "5.00"}
    await use(customer, "1500")
    assert await told(customer) == [LOW, LOW, EMPTY]
    assert await customer.ask("PUT", PATH, {"threshold": None}) == {"threshold": None}
    await give(customer, "6")
    await use(customer, "2000")
    assert await told(customer) == [LOW, LOW, EMPTY]
    noted = await customer.rows(
        "SELECT detail FROM billing_audit WHERE account_id = %(me)s"
        " AND action = 'credits.low_balance_set' ORDER BY id"
    )
    assert [one["detail"]["threshold"] for one in noted] == ["5.00", None]


async def test_a_hold_is_no_news_but_its_capture_is(actors: Actors) -> None:
    customer = await funded(actors, "10")
    await customer.ask("PUT", PATH, {"threshold": "5"})
    path = f"/billing/credits/holds/{(await held(customer, '8'))['hold_id']}"
    await customer.ask("POST", f"{path}/release")
    assert await told(customer) == []
    hold = (await held(customer, "8"))["hold_id"]
    await use(customer, "3000", hold_id=hold)
    assert await told(customer) == [LOW]
    await give(customer, "-4")
    assert await told(customer) == [LOW, EMPTY]


async def test_many_who_spend_at_once_cross_once(actors: Actors) -> None:
    customer = await funded(actors, "40")
    await customer.ask("PUT", PATH, {"threshold": "20"})
    await asyncio.gather(*(use(customer, "1000") for _ in range(20)))
    assert await told(customer) == [LOW, EMPTY]
    for bad in ("0", "-1", "NaN", True):
        await customer.refused("VALIDATION_FAILED", "PUT", PATH, {"threshold": bad})
