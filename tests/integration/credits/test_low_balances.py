"""Few credits left: told once per crossing, however they are spent and however many spend them."""

import asyncio
from typing import Any

from tests.integration.actors import Actors, Merchant
from tests.integration.credits.test_hold_routes import funded, give, held

PATH = "/billing/credits/low-balance"
LOW, EMPTY = "evt.billing.credits.low", "evt.billing.credits.empty"


async def told(merchant: Merchant) -> list[str]:
    return [type_ for type_ in await merchant.published() if type_ in (LOW, EMPTY)]


async def use(merchant: Merchant, amount: str, **more: Any) -> None:
    """Uses of gpt-4 cost 2 credits per thousand."""
    body = {"product_id": "gpt-4", "usage_amount": amount} | more
    await merchant.ask("POST", "/usage/record", body, status=201)


async def test_a_crossing_is_told_once_and_again_only_after_the_next_one(actors: Actors) -> None:
    merchant = await funded(actors, "10")
    assert await merchant.ask("PUT", PATH, {"threshold": "5"}) == {"threshold": "5.00"}
    await use(merchant, "2000")
    assert await told(merchant) == []
    await use(merchant, "1000")
    await use(merchant, "500")
    assert await told(merchant) == [LOW]
    await give(merchant, "10")
    rows = [{"product_id": "gpt-4", "usage_amount": "1000"}] * 5
    await merchant.ask("POST", "/usage/batch", {"events": rows})
    assert await told(merchant) == [LOW, LOW]
    (event, _) = await merchant.rows(
        "SELECT data FROM events WHERE account_id = %(me)s AND type = %(t)s ORDER BY seq", t=LOW
    )
    assert event["data"] == {"account_id": merchant.id, "balance": "4.00", "threshold": "5.00"}
    await use(merchant, "1500")
    assert await told(merchant) == [LOW, LOW, EMPTY]
    assert await merchant.ask("PUT", PATH, {"threshold": None}) == {"threshold": None}
    await give(merchant, "6")
    await use(merchant, "2000")
    assert await told(merchant) == [LOW, LOW, EMPTY]


async def test_a_hold_is_no_news_but_its_capture_is(actors: Actors) -> None:
    merchant = await funded(actors, "10")
    await merchant.ask("PUT", PATH, {"threshold": "5"})
    path = f"/billing/credits/holds/{(await held(merchant, '8'))['hold_id']}"
    await merchant.ask("POST", f"{path}/release")
    assert await told(merchant) == []
    hold = (await held(merchant, "8"))["hold_id"]
    await use(merchant, "3000", hold_id=hold)
    assert await told(merchant) == [LOW]
    await give(merchant, "-4")
    assert await told(merchant) == [LOW, EMPTY]


async def test_many_who_spend_at_once_cross_once(actors: Actors) -> None:
    merchant = await funded(actors, "40")
    await merchant.ask("PUT", PATH, {"threshold": "20"})
    await asyncio.gather(*(use(merchant, "1000") for _ in range(20)))
    assert await told(merchant) == [LOW, EMPTY]
    for bad in ("0", "-1", "NaN", 5):
        await merchant.refused("VALIDATION_FAILED", "PUT", PATH, {"threshold": bad})
