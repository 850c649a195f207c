"""Many requests at one instant: as much happens as was asked for, and nothing answers 5xx."""

import asyncio
from collections import Counter
from typing import Any

import httpx2

from sandbox.control import Json
from tests.integration.actors import Actors, Merchant, wait_for

CROWD = 50


async def crowd(merchant: Merchant, count: int, path: str, body: Json, **more: Any) -> list[Any]:
    """The answers to `count` requests sent at once."""
    answers: list[httpx2.Response] = await asyncio.gather(
        *(merchant.call("POST", path, body, **more) for _ in range(count))
    )
    assert all(answer.status_code < 500 for answer in answers), Counter(
        answer.status_code for answer in answers
    )
    return answers


def codes(answers: list[httpx2.Response]) -> Counter[str]:
    """How often each status, or each refusal's code, was answered."""
    return Counter(
        str(answer.status_code) if answer.is_success else answer.json()["code"]
        for answer in answers
    )


async def test_fifty_requests_take_one_trial(merchant: Merchant) -> None:
    answers = await crowd(merchant, CROWD, "/billing/trials", {})
    assert codes(answers) == {"201": 1, "TRIAL_ALREADY_USED": CROWD - 1}
    assert await merchant.credits() == 500
    assert len(await merchant.grants("trial")) == 1


async def test_fifty_requests_with_one_key_make_one_purchase(merchant: Merchant) -> None:
    body = {"pack": "small", "payment_method": "card"}
    answers = await crowd(merchant, CROWD, "/billing/purchases", body, key="one-click")
    assert codes(answers).keys() <= {"201", "IDEMPOTENCY_IN_FLIGHT"}
    made = {answer.json()["purchase_id"] for answer in answers if answer.is_success}
    assert len(made) == 1
    begun = await merchant.buy("small", key="one-click")
    assert {begun["purchase_id"]} == made
    await merchant.pay(begun)
    await merchant.until_purchase(begun["purchase_id"], "completed")
    listed = await merchant.ask("GET", "/billing/purchases")
    assert [purchase["purchase_id"] for purchase in listed["data"]] == [begun["purchase_id"]]
    assert len(await merchant.effects()) == len(await merchant.grants()) == 1


async def test_fifty_clicks_on_a_saved_card_charge_it_once(merchant: Merchant) -> None:
    await merchant.save_card()
    body = {"pack": "small", "payment_method": "saved_card"}
    answers = await crowd(merchant, CROWD, "/billing/purchases", body, key="one-click")
    assert codes(answers).keys() <= {"201", "202", "IDEMPOTENCY_IN_FLIGHT"}
    assert len({a.json()["purchase_id"] for a in answers if a.is_success}) == 1

    async def charged() -> int:
        return len(await merchant.grants())

    await wait_for(charged, "the one purchase is granted")
    assert len(await merchant.effects()) == 1


async def test_fifty_requests_without_a_key_are_fifty_purchases(merchant: Merchant) -> None:
    answers = await crowd(merchant, CROWD, "/billing/purchases", {"pack": "small"})
    assert codes(answers).keys() <= {"201", "202"}
    begun = [answer.json() for answer in answers]
    assert len({purchase["purchase_id"] for purchase in begun}) == CROWD
    await asyncio.gather(*(pay(merchant, one) for one in begun))

    async def granted() -> int:
        return len(await merchant.grants())

    await wait_for(granted, "every purchase is granted", lambda seen: seen == CROWD, patience=60)
    assert [effect["amount"] for effect in await merchant.effects()] == [999] * CROWD
    assert await merchant.credits() == CROWD * 100
    numbers = [invoice["number"] for invoice in await merchant.invoices()]
    assert len(set(numbers)) == CROWD
    assert None not in numbers


async def pay(merchant: Merchant, begun: Json) -> None:
    """Pay as soon as there is something to confirm."""
    ready = await wait_for(
        lambda: merchant.purchase(begun["purchase_id"]),
        f"{begun['purchase_id']} can be paid",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    await merchant.pay(ready)


async def test_one_key_of_two_accounts_is_two_keys(actors: Actors) -> None:
    first, second = await actors.merchant(), await actors.merchant()
    begun = await asyncio.gather(*(one.buy("small", key="shared-name") for one in (first, second)))
    assert begun[0]["purchase_id"] != begun[1]["purchase_id"]
    for one, purchase in zip((first, second), begun, strict=True):
        await one.pay(purchase)
        await one.until_purchase(purchase["purchase_id"], "completed")
        assert len(await one.effects()) == 1


async def test_ten_subscribers_of_a_free_plan_get_one_subscription(merchant: Merchant) -> None:
    answers = await crowd(merchant, 10, "/billing/subscription", {"plan": "free"})
    assert codes(answers) == {"201": 1, "SUBSCRIPTION_EXISTS": 9}


async def test_however_many_subscribe_at_once_one_is_paid(merchant: Merchant) -> None:
    body = {"plan": "pro", "trial": False}
    answers = await crowd(merchant, 10, "/billing/subscription", body)
    assert codes(answers).keys() <= {"201", "202", "SUBSCRIPTION_EXISTS"}
    now = await wait_for(
        merchant.subscription,
        "the last wish can be paid",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    await merchant.pay(now)
    active = await merchant.until_subscription("active")
    assert active["subscription_id"] == now["subscription_id"]
    assert [effect["amount"] for effect in await merchant.effects()] == [4900]
    rows = await merchant.rows(
        "SELECT status, count(*) AS n FROM subscriptions WHERE account_id = %(me)s GROUP BY 1"
    )
    assert {row["status"]: row["n"] for row in rows}.pop("active") == 1
    assert {row["status"] for row in rows} <= {"active", "incomplete_expired"}
