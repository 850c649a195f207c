"""Whoever wakes matters locks them in the order of their names, as who receives events does."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import store, sweeps
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


async def test_a_rebuild_takes_matters_in_the_order_of_their_names(
    actors: Actors, database: Database
) -> None:
    accounts = [await actors.customer(), await actors.customer()]
    names = [ACCOUNT.workflow_id(one.uuid) for one in accounts]
    for customer in reversed(accounts):
        async with database.tenant(customer.uuid) as connection:
            due = real_now() + timedelta(days=9)
            await store.ensure_account(connection, customer.uuid, due=due, at=real_now())

    async def rebuild() -> None:
        async with database.operator() as connection:
            # The plan of many names, which reads rows in the order of the table.
            await connection.execute(text("SET LOCAL enable_indexscan = off"))
            await sweeps.expect_look(connection, names, real_now())

    async with other_session(actors.stack) as receiver:
        await receiver.execute(HELD, [names[0]])
        looking = asyncio.create_task(rebuild())
        await waiting_behind(actors, receiver)
        await receiver.execute(HELD, [names[1]])
    await looking


SETTLED: Final = (
    # The plan of many rows, which reads them in the order of the table.
    "SET LOCAL enable_indexscan = off",
    """
    INSERT INTO credit_balances (account_id, last_at)
    SELECT u, now() FROM unnest(CAST(:accounts AS uuid[])) AS u""",
    """
    INSERT INTO unpaid_uses (record_id, account_id, used_at, overdue_at)
    SELECT uuidv7(), u, now(), now() FROM unnest(CAST(:accounts AS uuid[])) AS u""",
    "SELECT usage_settle_freed(CAST(:accounts AS uuid[]))",
)


async def test_captures_of_many_accounts_take_their_matters_in_order(
    superuser: AsyncConnection,
) -> None:
    accounts = [UUID(f"0196a1b2-0000-7000-8000-{n * 7919 % 1000:012}") for n in range(20)]
    for statement in SETTLED:
        values = {"accounts": accounts} if ":accounts" in statement else {}
        await superuser.execute(text(statement), values)
    taken = await superuser.scalars(
        text("SELECT account_id FROM matters WHERE account_id = ANY(:accounts) ORDER BY woken_at"),
        {"accounts": accounts},
    )
    assert list(taken) == sorted(accounts)
