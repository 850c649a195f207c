"""Whoever wakes matters locks them in the order of their names, as who receives events does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import store
from billing.matters.effects import Wake
from billing.matters.kinds import ACCOUNT, SUBSCRIPTION
from billing.money.invoice_requests import locks
from billing.money.invoices import store as invoices
from billing.platform.decisions import writer
from tests.integration.actors import Actors, Customer
from tests.integration.locked import other_session, waiting_behind

HELD: Final = "SELECT FROM matters WHERE workflow_id = %s FOR UPDATE NOWAIT"
_NAME: Final = text("SELECT workflow_id FROM matters WHERE account_id = :id AND kind = :kind")
_INVOICES: Final = text(
    "SELECT id FROM invoices WHERE account_id = :id ORDER BY workflow_id LIKE 'purchase/%'"
)


async def name_of(connection: AsyncConnection, customer: Customer, kind: str) -> str:
    found = await connection.scalar(_NAME, {"id": customer.uuid, "kind": kind})
    return str(found)


async def by_a_decision(connection: AsyncConnection, customer: Customer) -> None:
    """A purchase's, as of a trial that its subscription wakes."""
    own = await name_of(connection, customer, "purchase")
    wakes = [Wake(await name_of(connection, customer, "subscription"))]
    await writer.write(connection, wakes, real_now(), {}, own=own)
    await store.wake(connection, own, real_now())


async def by_cards(connection: AsyncConnection, customer: Customer) -> None:
    """A card's, whose step writes the account's own matter behind it."""
    await store.wake_open(connection, customer.uuid, (SUBSCRIPTION,), real_now())
    await store.wake(connection, ACCOUNT.workflow_id(customer.uuid), real_now())


async def by_requests(connection: AsyncConnection, customer: Customer) -> None:
    """Of two invoices, of which the first has the later name."""
    found = list(await connection.scalars(_INVOICES, {"id": customer.uuid}))
    await locks.take_collectors(connection, customer.uuid, found)
    for one in found:
        await locks.wake(connection, await invoices.get(connection, one), real_now())


@pytest.mark.parametrize(
    ("wakes", "first"),
    [(by_a_decision, "purchase"), (by_cards, "account"), (by_requests, "purchase")],
)
async def test_who_waits_for_a_matter_holds_none_behind_it(
    actors: Actors,
    database: Database,
    wakes: Callable[[AsyncConnection, Customer], Awaitable[None]],
    first: str,
) -> None:
    customer = await actors.customer()
    await customer.subscribed("basic")
    await customer.bought("small")

    async def wake() -> None:
        async with database.tenant(customer.uuid) as connection:
            await wakes(connection, customer)

    async with database.tenant(customer.uuid) as connection:
        names = [await name_of(connection, customer, one) for one in (first, "subscription")]
    assert names == sorted(names)
    async with other_session(actors.stack) as receiver:
        await receiver.execute(HELD, [names[0]])
        waking = asyncio.create_task(wake())
        await waiting_behind(actors, receiver)
        await receiver.execute(HELD, [names[1]])
    await waking
