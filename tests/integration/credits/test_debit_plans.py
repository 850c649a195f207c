"""A debit reads a handful of rows however long the ledger is, on statistics nobody gathered.

Counted by Postgres itself: a plan that scans shows as rows read, on any machine.
"""

from collections import Counter
from datetime import timedelta
from typing import Final
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from billing.core.clock import real_now
from billing.ledger.credits import store
from devstack.stack import StackInfo
from tests.integration.credits.accounts import CreditAccount, NewAccount
from tests.integration.credits.batches import Item, debit_batch

LEDGER: Final = 4_000
BATCH: Final = 200
LOTS: Final = 100

_READ: Final = text(
    "SELECT relname, seq_tup_read + idx_tup_fetch AS rows FROM pg_stat_xact_user_tables"
    " WHERE relname LIKE 'credit%'"
)
_FORGET: Final = (
    text(
        "SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited)"
        " FROM pg_stats WHERE tablename LIKE 'credit%'"
    ),
    text(
        "SELECT pg_clear_relation_stats(relnamespace::regnamespace::text, relname)"
        " FROM pg_class WHERE relkind = 'r' AND relname LIKE 'credit%'"
    ),
)


async def read_rows(connection: AsyncConnection) -> Counter[str]:
    """Rows read by this session and not yet reported, by table; only differences mean something."""
    return Counter({row.relname: row.rows or 0 for row in await connection.execute(_READ)})


def debits(account: CreditAccount, count: int) -> list[Item]:
    return [Item(account.id, "0.01", f"reach/{uuid4()}") for _ in range(count)]


@pytest.fixture(scope="module")
async def busy(new_account: object) -> CreditAccount:
    """An account with a long ledger and many open lots."""
    account: CreditAccount = await new_account()  # type: ignore[operator]
    for _ in range(LOTS):
        await account.grant("1", kind="plan", expires_at=real_now() + timedelta(days=365))
    for _ in range(LEDGER // BATCH):
        async with account.transaction() as connection:
            await debit_batch(connection, debits(account, BATCH))
    return account


@pytest.fixture
async def nothing_gathered(busy: CreditAccount, stack: StackInfo) -> None:
    """Autovacuum may have gathered statistics in a long run: these tests are about having none."""
    engine = create_async_engine(stack.superuser_url)
    async with engine.begin() as connection:
        for forget in _FORGET:
            await connection.execute(forget)
    await engine.dispose()


@pytest.mark.usefixtures("nothing_gathered")
async def test_a_batch_reads_a_few_rows_per_item(busy: CreditAccount) -> None:
    async with busy.transaction() as connection:
        before = await read_rows(connection)
        rows = await debit_batch(connection, debits(busy, BATCH))
        read = await read_rows(connection) - before
    assert {row["verdict"] for row in rows} == {"ok"}
    assert read["credit_transactions"] == 0, "new keys are found missing in the index"
    assert read["credit_lots"] < 60, "lots are fetched until they cover the batch, then written"
    assert read["credit_balances"] < 10


async def test_a_repeated_batch_reads_one_entry_per_item(busy: CreditAccount) -> None:
    items = debits(busy, BATCH)
    async with busy.transaction() as connection:
        await debit_batch(connection, items)
    async with busy.transaction() as connection:
        before = await read_rows(connection)
        await debit_batch(connection, items)
        read = await read_rows(connection) - before
    assert read["credit_transactions"] == BATCH


async def test_the_balance_reads_no_ledger_but_one_entry(busy: CreditAccount) -> None:
    async with busy.transaction() as connection:
        before = await read_rows(connection)
        later, soon = real_now() + timedelta(days=40), timedelta(days=7)
        found = (await store.overviews(connection, [busy.id], later, soon))[busy.id]
        read = await read_rows(connection) - before
    assert found is not None
    assert found.used_this_month == 0
    assert read["credit_transactions"] <= 1


async def test_a_batch_leaves_no_cursor_open(new_account: NewAccount) -> None:
    """Each would keep its state and a snapshot until the commit."""
    account = await new_account()
    await account.grant("5")
    async with account.transaction() as connection:
        await debit_batch(connection, debits(account, 3))
        left = await connection.scalars(text("SELECT name FROM pg_cursors"))
        assert [name for name in left if name.startswith("<unnamed")] == []
