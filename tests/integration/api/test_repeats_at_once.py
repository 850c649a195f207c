"""A request that is sent again while the first one still runs, when its lease has ended: the key
gets what the first one did, and no refusal of it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from billing.core import ids
from billing.core.errors import ProviderFailure
from billing.money.purchases import service
from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.api_app import Api
from tests.integration.coupons.coupons_made import CLOCK, coupon, redeemed
from tests.integration.locked import held, waiting

SUBSCRIPTION = "/billing/subscription"
ENDS = (
    "UPDATE billing_idempotency SET lease_until = clock_timestamp() WHERE key = %(key)s"
    " RETURNING key"
)
Ask = Callable[[str], Coroutine[Any, Any, httpx2.Response]]


async def sent_twice(customer: Customer, ask: Ask) -> tuple[Json, Json]:
    """The answers of both: the second is sent when the first has waited beyond its lease."""
    key = str(uuid4())
    async with held(customer):
        first = asyncio.create_task(ask(key))
        await waiting(customer, 1)
        await customer.actors.sql(ENDS, key=key)
        second = asyncio.create_task(ask(key))
        await waiting(customer, 2)
    answers = [await first, await second]
    assert [one.is_success for one in answers] == [True, True], [one.text for one in answers]
    again = await ask(key)
    assert again.is_success, again.text
    return answers[0].json(), answers[1].json()


def post(customer: Customer, path: str, body: Json, method: str = "POST") -> Ask:
    return lambda key: customer.call(method, path, body, key=key)


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/billing/trials", {}, "trial_id"),
        ("/billing/purchases", {"pack": "small"}, "purchase_id"),
        (SUBSCRIPTION, {"plan": "pro", "trial": False}, "subscription_id"),
        (SUBSCRIPTION, {"plan": "pro", "trial": True}, "subscription_id"),
        ("/billing/payment-methods/setup-intent", {}, "setup_intent_id"),
    ],
)
async def test_what_the_first_begins_is_begun_once(
    customer: Customer, path: str, body: Json, name: str
) -> None:
    first, second = await sent_twice(customer, post(customer, path, body))
    assert first[name] == second[name]


async def test_the_only_redemption_is_for_the_order_sent_twice(actors: Actors) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    customer = await actors.customer()
    order = {"pack": "small", "coupon": code}
    first, second = await sent_twice(customer, post(customer, "/billing/purchases", order))
    assert first["purchase_id"] == second["purchase_id"]
    assert await redeemed(actors, code) == 1


async def test_a_change_sent_twice_is_charged_once_with_its_coupon(actors: Actors) -> None:
    code = await coupon(actors, percent="50")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    change = {"plan": "pro", "coupon": code}
    _, second = await sent_twice(customer, post(customer, SUBSCRIPTION, change, "PUT"))
    assert second["plan"]["key"] == "pro"
    assert len(await customer.effects()) == 2
    assert await redeemed(actors, code) == 1


async def test_days_that_an_operator_adds_twice_with_one_key_are_added_once(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    path = f"{API}/admin/accounts/{customer.id}/subscription/extend"

    async def extend(key: str) -> httpx2.Response:
        headers = actors.headers("*", "admin", key)
        body = {"days": 5, "reason": "an outage"}
        return await actors.client.post(path, json=body, headers=headers)

    _, second = await sent_twice(customer, extend)
    assert second["current_period_end"] == "2027-02-06T10:00:00Z"


async def test_a_transfer_reported_twice_is_one(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    report = {
        "invoice_id": begun["next_action"]["invoice_id"],
        "payment_method": "bank_transfer",
        "transaction_reference": "TRX-2027-1",
    }
    first, second = await sent_twice(customer, post(customer, "/billing/payments/manual", report))
    assert first["payment_id"] == second["payment_id"]


async def test_what_is_overdue_is_paid_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    await customer.script("insufficient_funds")
    await customer.advance(days=31)
    assert (await customer.subscription())["status"] == "past_due"
    ask = post(customer, "/billing/pay-overdue", {})
    first, second = await sent_twice(customer, ask)
    assert first["charged_cents"] == second["charged_cents"] == 1900
    assert len(await customer.effects()) == 2


async def test_a_repeat_that_is_refused_leaves_the_key_to_what_the_first_may_still_make(
    customer: Customer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(customer, actors=replace(customer.actors, client=api.client))
    ask, kept = post(here, "/billing/purchases", {"pack": "small"}), []
    for error in (RuntimeError("it hangs"), ProviderFailure("PLATFORM_ERROR", "no")):

        async def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(service, "start", fail)
            assert not (await ask("k")).is_success
        kept += await customer.rows(
            "SELECT resource_id AS id FROM billing_idempotency"
            " WHERE account_id = %(me)s AND key = 'k'"
        )
    made = (await ask("k")).json()["purchase_id"]
    assert [ids.encode(ids.PURCHASE, one["id"]) for one in kept] == [made, made]
