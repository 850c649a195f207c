"""Uses wait for a recount no longer than they must, whatever becomes of its program."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.prepared import driver_of
from billing.core.transaction_settings import limit_statements
from billing.metering.usage import counter_rebuild as recounting
from tests.integration.insight.test_recounting import DAMAGE, SUMS
from tests.integration.rows_fetched import fetched
from tests.integration.usage.conftest import NewShop


async def test_uses_wait_only_for_the_recount_of_the_days_that_differ(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await new_shop("100")
    for days in (1, 2, 5):
        at = (real_now() - timedelta(days=days)).isoformat()
        await shop.batch(
            *({"product_id": "gpt-4", "usage_amount": "1", "user_id": "ann", "occurred_at": at},)
            * 20
        )
    before = await shop.rows(SUMS)
    async with shop.api.database.operator() as connection:
        damage = text(f"{DAMAGE[0]} AND bucket < clock_timestamp() - interval '4 days'")
        assert (await connection.execute(damage, {"id": shop.id})).rowcount == 1
    read, operator = list[int](), Database.operator

    @asynccontextmanager
    async def counting(database: Database) -> AsyncIterator[AsyncConnection]:
        async with operator(database) as connection:
            before = await fetched(connection, "billing_records")
            yield connection
            read.append(await fetched(connection, "billing_records") - before)

    monkeypatch.setattr(Database, "operator", counting)
    (found,) = await recounting.rebuild(shop.api.database, shop.id)
    monkeypatch.undo()
    assert (found.owner, found.kept, found.true) == ("u:ann", Decimal(21), Decimal(20))
    assert read == [60, 20], "the comparison reads all, the correction what differs"
    assert await shop.rows(SUMS) == before


async def test_a_long_statement_ends_soon_after_its_program(database: Database) -> None:
    still = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    async with database.operator_engine.connect() as connection:
        await connection.execute(text("BEGIN"))
        await limit_statements(connection, 60_000)
        program = driver_of(connection).pgconn
        pid = program.backend_pid
        program.send_query(b"SELECT pg_sleep(60)")
        program.finish()
        await connection.invalidate()
    async with asyncio.timeout(20), database.operator_statement() as other:
        while await other.scalar(still, {"pid": pid}):  # noqa: ASYNC110  Postgres tells nobody
            await asyncio.sleep(0.2)
