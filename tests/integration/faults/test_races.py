"""Many requests at one instant: as much happens as was asked for, and nothing answers 5xx."""

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any

import httpx2

from sandbox.control import Json
from tests.integration.actors import Actors, Customer, wait_for

MANY = 50


async def at_once(customer: Customer, count: int, path: str, body: Json, **more: Any) -> list[Any]:
    """The answers to `count` requests sent at once. One that waited for the lock too long was not
    begun (503), and is sent again.
    """

    async def ask() -> httpx2.Response:
        for _ in range(9):
            answer = await customer.call("POST", path, body, **more)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                return answer
        return await customer.call("POST", path, body, **more)

    answers = await asyncio.gather(*(ask() for _ in range(count)))
    assert all(answer.status_code < 500 for answer in answers), Counter(
        answer.status_code for answer in answers
    )
    return answers


def codes(answers: list[httpx2.Response]) -> Counter[str]:
    """Count of each status, or of each refusal's code."""
    return Counter(
        str(answer.status_code) if answer.is_success else answer.json()["code"]
        for answer in answers
    )


async def test_fifty_requests_take_one_trial(customer: Customer) -> None:
    answers = await at_once(customer, MANY, "/billing/trials", {})
    assert codes(answers) == {"201": 1, "TRIAL_ALREADY_USED": MANY - 1}
    assert await customer.credits() == 500
    assert len(await customer.grants("trial")) == 1


async def test_fifty_requests_with_one_key_make_one_purchase(customer: Customer) -> None:
    body = {"pack": "small", "payment_method": "card"}
    answers = await at_once(customer, MANY, "/billing/purchases", body, key="one-click")
    assert codes(answers).keys() <= {"201", "IDEMPOTENCY_IN_FLIGHT"}
    made = {answer.json()["purchase_id"] for answer in answers if answer.is_success}
    assert len(made) == 1
    begun = await customer.buy("small", key="one-click")
    assert {begun["purchase_id"]} == made
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    listed = await customer.ask("GET", "/billing/purchases")
    assert [purchase["purchase_id"] for purchase in listed["data"]] == [begun["purchase_id"]]
    assert len(await customer.effects()) == len(await customer.grants()) == 1


async def test_fifty_clicks_on_a_saved_card_charge_it_once(customer: Customer) -> None:
    await customer.save_card()
    body = {"pack": "small", "payment_method": "saved_card"}
    answers = await at_once(customer, MANY, "/billing/purchases", body, key="one-click")
    assert codes(answers).keys() <= {"201", "202", "IDEMPOTENCY_IN_FLIGHT"}
    assert len({a.json()["purchase_id"] for a in answers if a.is_success}) == 1

    async def charged() -> int:
        return len(await customer.grants())

    await wait_for(charged, "the one purchase is granted")
    assert len(await customer.effects()) == 1


async def test_fifty_requests_without_a_key_are_fifty_purchases(customer: Customer) -> None:
    answers = await at_once(customer, MANY, "/billing/purchases", {"pack": "small"})
    assert codes(answers).keys() <= {"201", "202"}
    begun = [answer.json() for answer in answers]
    assert len({purchase["purchase_id"] for purchase in begun}) == MANY
    await asyncio.gather(*(pay(customer, one) for one in begun))

    async def granted() -> int:
        return len(await customer.grants())

    await wait_for(granted, "every purchase is granted", lambda seen: seen == MANY, patience=60)
    assert [effect["amount"] for effect in await customer.effects()] == [999] * MANY
    assert await customer.credits() == MANY * 100
    numbers = [invoice["number"] for invoice in await customer.invoices()]
    assert len(set(numbers)) == MANY
    assert None not in numbers


async def pay(customer: Customer, begun: Json) -> None:
    """Pay as soon as there is something to confirm."""
    ready = await wait_for(
        lambda: customer.purchase(begun["purchase_id"]),
        f"{begun['purchase_id']} can be paid",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    await customer.pay(ready)


async def test_one_key_of_two_accounts_is_two_keys(actors: Actors) -> None:
    first, second = await actors.customer(), await actors.customer()
    begun = await asyncio.gather(*(one.buy("small", key="shared-name") for one in (first, second)))
    assert begun[0]["purchase_id"] != begun[1]["purchase_id"]
    for one, purchase in zip((first, second), begun, strict=True):
        await one.pay(purchase)
        await one.until_purchase(purchase["purchase_id"], "completed")
        assert len(await one.effects()) == 1


async def test_ten_subscribers_of_a_free_plan_get_one_subscription(customer: Customer) -> None:
    answers = await at_once(customer, 10, "/billing/subscription", {"plan": "free"})
    assert codes(answers) == {"201": 1, "SUBSCRIPTION_EXISTS": 9}


async def test_however_many_subscribe_at_once_one_is_paid(customer: Customer) -> None:
    body = {"plan": "pro", "trial": False}
    answers = await at_once(customer, 10, "/billing/subscription", body)
    assert codes(answers).keys() <= {"201", "202", "SUBSCRIPTION_EXISTS"}
    now = await wait_for(
        customer.subscription,
        "the last wish can be paid",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    await customer.pay(now)
    active = await customer.until_subscription("active")
    assert active["subscription_id"] == now["subscription_id"]
    assert [effect["amount"] for effect in await customer.effects()] == [4900]
    rows = await customer.rows(
        "SELECT status, count(*) AS n FROM subscriptions WHERE account_id = %(me)s GROUP BY 1"
    )
    assert {row["status"]: row["n"] for row in rows}.pop("active") == 1
    assert {row["status"] for row in rows} <= {"active", "incomplete_expired"}
