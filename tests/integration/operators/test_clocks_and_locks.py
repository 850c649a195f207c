"""A clock moves between what is written: nothing begins in the past of its account."""

import asyncio
from typing import Any

import pytest

from tests.integration.actors import Actors, Customer, Json, instant, wait_for
from tests.integration.locked import held, waiting
from workflows import start

BEFORE, AFTER = "2027-01-01T10:00:00Z", "2027-01-11T10:00:00Z"
MOVED = "UPDATE accounts SET clock_at = %(at)s WHERE id = %(me)s RETURNING id"
AIMED = (
    "UPDATE accounts SET clock_target = %(at)s, clock_status = 'advancing' WHERE id = %(me)s"
    " RETURNING id"
)


@pytest.mark.parametrize(
    ("path", "body", "began"),
    [
        ("/billing/subscription", {"plan": "pro", "trial": False}, "current_period_start"),
        ("/billing/subscription", {"plan": "pro", "trial": True}, "current_period_start"),
        ("/billing/trials", {}, "started_at"),
    ],
)
async def test_what_waited_for_its_account_begins_now(
    actors: Actors, path: str, body: Json, began: str
) -> None:
    customer = await actors.customer_on_clock(BEFORE)
    async with held(customer):
        asked = asyncio.create_task(customer.ask("POST", path, body, status=201))
        await waiting(customer, 1)
        await customer.rows(MOVED, at=instant(AFTER))
    assert (await asked)[began] == AFTER


async def test_a_coupon_that_ended_meanwhile_is_not_redeemed(actors: Actors) -> None:
    until = {"code": "ENDS-SOON", "name": "A coupon", "percent": "10", "valid_until": AFTER}
    await actors.operate("POST", "/admin/coupons", until, status=201)
    customer = await actors.customer_on_clock(BEFORE)
    await customer.subscribed("basic")
    path, body = "/billing/subscription/coupon", {"code": "ENDS-SOON"}
    async with held(customer):
        asked = asyncio.create_task(customer.refused("INVALID_COUPON", "POST", path, body))
        await waiting(customer, 1)
        await customer.rows(MOVED, at=instant(AFTER))
    assert (await asked)["reason"] == "expired"


async def test_a_clock_waits_for_what_is_being_written(actors: Actors) -> None:
    walking, asked_for = [await actors.customer_on_clock(BEFORE) for _ in range(2)]
    async with held(walking), held(asked_for):
        await walking.rows(AIMED, at=instant(AFTER))
        await start.walk(actors.temporal, walking.uuid)
        aimed = asyncio.create_task(asked_for.aim_clock(to=AFTER))
        await asyncio.sleep(1.5)
        assert not aimed.done()
        assert [(await one.clock())["clock_at"] for one in (walking, asked_for)] == [BEFORE] * 2
    await aimed
    for one in (walking, asked_for):
        await arrived(one)


async def arrived(customer: Customer) -> Any:
    return await wait_for(
        customer.clock, "the clock arrives", lambda seen: seen["clock_at"] == AFTER
    )
