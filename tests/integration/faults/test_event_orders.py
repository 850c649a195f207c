"""A purchase's events in whatever order they come: the end is always the same.

The events are the sandbox's own; they are signed and posted here, so that order is exact and
nothing else tells the service. The gate posts thirty of the 120 orders, each event at each place
and each pair both ways; `ORDERS=all` posts every one.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from typing import Any, TypeVar

import pytest

from sandbox.control import Json
from sandbox.webhooks import signature
from tests.integration.actors import API, Actors, Customer, intent_of, wait_for

T = TypeVar("T")
FIVE = (
    "payment_intent.created",
    "payment_intent.requires_action",
    "charge.succeeded",
    "payment_intent.succeeded",
    "charge.updated",
)
EVERY = list(permutations(range(len(FIVE))))
ORDERS = EVERY if os.environ.get("ORDERS") == "all" else random.Random(3).sample(EVERY, 20)
PER_ACCOUNT = 10
AT_ONCE = 8


@dataclass(frozen=True)
class Sale:
    """One purchase that is paid, of which nobody has told the service."""

    customer: Customer
    purchase_id: str
    intent: str

    @classmethod
    async def make(cls, customer: Customer) -> "Sale":
        """Buy, be asked by the bank, and pass."""
        begun = await customer.buy("small")
        await customer.confirm(begun, "pm_card_authenticationRequired")
        sandbox = customer.actors.sandbox
        assert (await sandbox.authenticate(intent_of(begun))).status == 200
        return cls(customer, begun["purchase_id"], intent_of(begun))


async def gather(count: int, act: Callable[[int], Awaitable[T]]) -> list[T]:
    """Act for each number, eight at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> T:
        async with gate:
            return await act(number)

    return await asyncio.gather(*(one(number) for number in range(count)))


async def events_of(actors: Actors, intents: Collection[str]) -> dict[str, dict[str, Json]]:
    """The five events of each intent by type, read from the provider's list, newest first."""
    found: dict[str, dict[str, Json]] = {intent: {} for intent in intents}
    query: dict[str, Any] = {"limit": 100}
    headers = {"Authorization": f"Bearer {actors.stack.stripe_secret_key}"}
    url = f"{actors.stack.sandbox_url}/v1/events"
    while any(len(events) < len(FIVE) for events in found.values()):
        answer = await actors.client.get(url, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        page: list[Json] = answer.json()["data"]
        assert page, "the provider has no more events, and some are missing"
        for event in page:
            subject = event["data"]["object"]
            intent = subject["id"] if subject["object"] == "payment_intent" else None
            mine = found.get(intent or subject.get("payment_intent") or "")
            if mine is not None and event["type"] in FIVE:
                mine[event["type"]] = event
        query["starting_after"] = page[-1]["id"]
    return found


async def post(actors: Actors, event: Json) -> None:
    """Deliver one event as the provider does."""
    body = json.dumps(event)
    headers = {"Stripe-Signature": signature(body, actors.stack.stripe_webhook_secret, now())}
    answer = await actors.client.post(
        f"{API}/webhooks/stripe", content=body.encode(), headers=headers
    )
    assert answer.status_code == 200, answer.text


def now() -> int:
    """The second of real time that a signature carries."""
    return int(time.time())


def test_each_event_comes_at_each_place_and_each_pair_both_ways() -> None:
    places = range(len(FIVE))
    assert {(n, order[n]) for order in ORDERS for n in places} == {
        (n, m) for n in places for m in places
    }
    assert {pair for order in ORDERS for pair in combinations(order, 2)} == set(
        permutations(places, 2)
    )


@pytest.mark.slow
async def test_five_events_in_any_order_end_in_one_grant(actors: Actors) -> None:
    sandbox = actors.sandbox
    # Frozen clocks: no timer asks the provider before the events come.
    customers = [await actors.customer_on_clock() for _ in range(len(ORDERS) // PER_ACCOUNT)]
    holds = [await sandbox.webhooks("hold", metadata={"account": one.id}) for one in customers]
    poll = await sandbox.fault("error_429", method="GET", path="/v1/events", times=None)
    try:
        sales = await gather(len(ORDERS), lambda n: Sale.make(customers[n // PER_ACCOUNT]))
        assert not any([await customer.grants() for customer in customers]), "nobody knows yet"
        await sandbox.clear("faults", poll)
        told = await events_of(actors, [sale.intent for sale in sales])

        async def tell(number: int) -> None:
            events = told[sales[number].intent]
            for place in ORDERS[number]:
                await post(actors, events[FIVE[place]])

        await gather(len(ORDERS), tell)
        await all_look_alike(actors, customers)
    finally:
        await sandbox.clear("faults", poll)
        for hold in holds:
            await sandbox.clear("webhooks", hold)


async def all_look_alike(actors: Actors, customers: list[Customer]) -> None:
    """Each purchase is completed, charged, granted and invoiced once; no event waits."""
    mine = {"mine": [customer.uuid for customer in customers]}
    waiting = (
        "SELECT stripe_event_id FROM stripe_webhook_events"
        " WHERE account_id = ANY(%(mine)s) AND status = 'received'"
    )
    open_ones = (
        "SELECT id FROM purchases WHERE account_id = ANY(%(mine)s) AND status <> 'completed'"
    )
    for query, what in ((open_ones, "every purchase is completed"), (waiting, "no event waits")):
        await wait_for(partial(actors.sql, query, **mine), what, lambda seen: not seen)
    for customer in customers:
        assert len({effect["payment_intent"] for effect in await customer.effects()}) == PER_ACCOUNT
        assert len(await customer.effects()) == len(await customer.grants()) == PER_ACCOUNT
        assert [one["status"] for one in await customer.invoices()] == ["paid"] * PER_ACCOUNT
        assert await customer.credits() == PER_ACCOUNT * 100
