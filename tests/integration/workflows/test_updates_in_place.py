"""Rows that change often are changed in their page, without a new entry in every index (HOT)."""

import asyncio
from typing import Final
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.integration.actors import Actors, Customer, wait_for

# The share of a table's updates that is to be HOT, and how many updates a life here has at least.
# In the rest a status or an id changes by which rows are found (docs/decisions/0018).
FLOORS: Final = {
    "credit_balances": (0.95, 40),
    "usage_counters": (0.95, 20),
    "usage_periods": (0.95, 2),
    "invoice_series": (0.95, 2),
    "credit_lots": (0.70, 20),
    "subscriptions": (0.60, 3),
    "matters": (0.05, 15),
}
IDLE_SECONDS: Final = 11
"""A connection that went idle tells its counts within ten seconds; so do those of tests before."""
UPDATES: Final = text(
    "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = ANY (:names)"
)

MANY_COUNTERS: Final = text(
    "INSERT INTO usage_counters (account_id, owner, grain, period_start, bucket, meter, facet,"
    " quantity, events, maximum, last_value, last_at, credits, overage, overage_total)"
    " SELECT uuidv7(), '', 'day', now(), now(), 'many', '', 1, 1, 1, 1, now(), 0, 0, 0"
    " FROM generate_series(1, 500)"
)
CHANGE_THEM: Final = text("UPDATE usage_counters SET quantity = 2 WHERE meter = 'many'")
HOT_HERE: Final = text("SELECT pg_stat_get_xact_tuples_hot_updated('usage_counters'::regclass)")

LOCKING: Final = text(
    "SELECT tgrelid::regclass || ' has ' || tgname FROM pg_trigger"
    " WHERE tgrelid::regclass::text = ANY (:names) AND NOT tgisinternal AND tgtype & 19 = 19"
)
"""Triggers BEFORE UPDATE FOR EACH ROW."""


async def updates(connection: AsyncConnection) -> dict[str, tuple[int, int]]:
    found = await connection.execute(UPDATES, {"names": list(FLOORS)})
    return {row.relname: (row.n_tup_upd, row.n_tup_hot_upd) for row in found}


async def uses(customer: Customer) -> None:
    for _ in range(10):
        body = {"product_id": "gpt-4", "usage_amount": "1000", "event_id": str(uuid4())}
        await customer.ask("POST", "/usage/record", body)


async def live(actors: Actors) -> None:
    """Two renewals and two purchases with uses between them."""
    customer = await actors.customer_on_clock("2027-01-10T10:00:00Z")
    await customer.subscribed("basic")
    await customer.bought("small")
    for _ in range(2):
        await uses(customer)
        await customer.advance(days=31)
    await customer.bought("small")
    await uses(customer)


async def test_the_rows_of_a_life_are_changed_in_place(actors: Actors) -> None:
    engine = create_async_engine(actors.stack.superuser_url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await asyncio.sleep(IDLE_SECONDS)
        before = await updates(connection)
        await asyncio.gather(live(actors), live(actors))
        seen: dict[str, tuple[int, int]] = {}

        async def told() -> bool:
            """Processes tell their counts when they have been idle for some seconds."""
            for name, (all_now, hot_now) in (await updates(connection)).items():
                all_then, hot_then = before[name]
                seen[name] = (all_now - all_then, hot_now - hot_then)
            return all(seen[name][0] >= 2 * least for name, (_, least) in FLOORS.items())

        await wait_for(told, "the counts of all tables are there")
    await engine.dispose()
    low = {
        name: seen[name]
        for name, (share, _) in FLOORS.items()
        if seen[name][1] < share * seen[name][0]
    }
    assert low == {}, seen


async def test_counters_of_many_accounts_are_changed_in_place_at_once(actors: Actors) -> None:
    """Those that one statement has written lie together."""
    engine = create_async_engine(actors.stack.superuser_url)
    async with engine.connect() as connection:
        await connection.execute(MANY_COUNTERS)
        changed = await connection.execute(CHANGE_THEM)
        hot = (await connection.execute(HOT_HERE)).scalar_one()
        await connection.rollback()
    await engine.dispose()
    assert changed.rowcount == 500
    assert hot >= 0.95 * changed.rowcount


async def test_no_trigger_locks_each_row_that_a_use_changes(actors: Actors) -> None:
    """A row trigger before an update locks the row first, also where its columns stay."""
    engine = create_async_engine(actors.stack.superuser_url)
    async with engine.connect() as connection:
        found = await connection.execute(LOCKING, {"names": list(FLOORS)})
        assert found.scalars().all() == []
    await engine.dispose()
