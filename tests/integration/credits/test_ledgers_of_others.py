"""An act on an account's credits costs the same however much other accounts have done.

A policy hides the rows of others, and with it the plan of a statement: it is measured as the
program's role, as whom conditions that may tell what they see are no keys of an index.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.ledger.credits import service
from tests.integration.actors import Actors, Customer
from tests.integration.credits import holding
from tests.integration.rows_fetched import become_program, fetched

USE = {"product_id": "gpt-4", "usage_amount": "100"}
MANY = 2_000
FEW = 100
"""Rows that an act may read in each of the tables."""
TABLES = ("credit_transactions", "credit_transaction_lots", "credit_lots", "billing_records")
OTHERS = [
    f"""
    INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object(
        'id', uuidv7(), 'account_id', gen_random_uuid(), 'transaction_id', gen_random_uuid(),
        'lot_id', gen_random_uuid(), 'key', gen_random_uuid(), 'grant_key', gen_random_uuid()))).*
    FROM {table} AS t, generate_series(1, {MANY}) WHERE t.account_id = :me LIMIT {MANY}
    """
    for table in TABLES
]
Act = Callable[[AsyncConnection, UUID], Awaitable[object]]


async def grant(connection: AsyncConnection, me: UUID) -> object:
    return await service.grant(
        connection, account_id=me, amount=Decimal(5), kind="purchase", key="test/grant",
        is_paid=True, reason="test",
    )  # fmt: skip


async def debit(connection: AsyncConnection, me: UUID) -> object:
    return await service.debit(
        connection, account_id=me, amount=Decimal(1), key="test/debit", reason="test"
    )


async def capture(connection: AsyncConnection, me: UUID) -> object:
    held = await holding.hold(
        connection, account_id=me, amount=Decimal(2), key="test/hold", reason="test",
        expires_at=real_now() + timedelta(days=1),
    )  # fmt: skip
    return await holding.capture(connection, account_id=me, hold_id=held.hold_id)


async def clawback(connection: AsyncConnection, me: UUID) -> object:
    key = await connection.scalar(
        text("SELECT grant_key FROM credit_lots WHERE account_id = :me"), {"me": me}
    )
    return await service.clawback(
        connection, account_id=me, grant_key=key, amount=Decimal(1), key="test/back", reason="test"
    )


async def expire(connection: AsyncConnection, me: UUID) -> object:
    return await service.expire(connection, me, real_now() + timedelta(days=900))


async def void(connection: AsyncConnection, me: UUID) -> object:
    verdict = await connection.scalar(
        text(
            "SELECT v.verdict FROM (SELECT id FROM billing_records WHERE account_id = :me) AS r"
            " CROSS JOIN LATERAL usage_void(:me, r.id, NULL, '{}') AS v"
        ),
        {"me": me},
    )
    assert verdict == "ok"
    return verdict


async def beside_others(customer: Customer, superuser: AsyncConnection) -> None:
    """Write as many rows for others, and go on as the program's role on the customer's account."""
    me: dict[str, Any] = {"me": customer.uuid}
    for statement in OTHERS:
        await superuser.execute(text(statement), me)
    await superuser.execute(text(f"ANALYZE {', '.join(TABLES)}"))
    await become_program(superuser, customer.uuid)


async def rows_read(connection: AsyncConnection, me: UUID, act: Act) -> dict[str, int]:
    """Count the rows of each table that an act reads; it is undone."""
    async with connection.begin_nested() as tried:
        before = {table: await fetched(connection, table) for table in TABLES}
        assert await act(connection, me)
        read = {table: await fetched(connection, table) - before[table] for table in TABLES}
        await tried.rollback()
    return read


async def test_an_act_reads_few_rows(actors: Actors, superuser: AsyncConnection) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    await customer.ask("POST", "/usage/record", USE)
    await beside_others(customer, superuser)
    acts: list[Act] = [grant, debit, capture, clawback, expire, void]
    read = {act.__name__: await rows_read(superuser, customer.uuid, act) for act in acts}
    assert all(rows < FEW for tables in read.values() for rows in tables.values()), read
