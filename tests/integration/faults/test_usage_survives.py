"""SIGKILL of Postgres while usage pours in: what was acknowledged is there once, and the rest too.

The first kill comes in the middle of a batch for certain: some of its accounts are recorded, and it
waits for one that somebody else holds. The others come wherever they come.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
import pytest

from billing.insight.integrity import service as integrity
from devstack.stack import dsn
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.faults.flows import insist
from tests.integration.faults.rows import open_operator
from tests.integration.faults.usage_senders import ROWS, Platform, Told
from tests.integration.recomputed_sums import differences

ACCOUNTS: Final = 4
PLATFORMS: Final = 6
KILLS: Final = 3
WAITING: Final = """
    SELECT pid FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND query LIKE '%%usage_record_once_free(%%'
"""
WRITTEN: Final = """
    SELECT event_id FROM billing_records WHERE account_id = ANY(%(mine)s) AND kind = 'usage'
"""


@pytest.mark.slow
async def test_usage_acknowledged_is_there_once_whenever_postgres_dies(doomed: Actors) -> None:
    customers = [await insist(lambda: customer(doomed), "a customer") for _ in range(ACCOUNTS)]
    told, stop = Told(), asyncio.Event()
    platforms = [Platform(doomed, customers, told, seed) for seed in range(PLATFORMS)]
    sending = [asyncio.create_task(platform.pour(stop)) for platform in platforms]
    try:
        for number in range(KILLS):
            await flows_on(told)
            if number == 0:
                await killed_in_a_batch(doomed, customers)
            else:
                await doomed.control.kill("postgres")
            known = told.acknowledged
            await doomed.control.wait("postgres")
            lost = known - set(await written(doomed, customers))
            assert not lost, f"acknowledged and lost: {sorted(lost)[:5]}"
        await flows_on(told)
    finally:
        stop.set()
        await asyncio.gather(*sending)

    for platform in platforms:
        assert await platform.repeat() == ["duplicate"] * ROWS
    await prove(doomed, customers, told)


async def customer(doomed: Actors) -> Customer:
    """A subscriber of a plan that sells what is used beyond it, with plenty of credits."""
    customer = await doomed.customer()
    await customer.subscribed("basic")
    path, body = "/admin/credits/adjust", {"account_id": customer.id, "reason": "usage to come"}
    answer = await doomed.client.post(
        f"/api/v1{path}",
        json=body | {"amount": "1000000"},
        headers=doomed.headers("*", "admin", key=f"plenty-{customer.id}"),
    )
    assert answer.is_success, answer.text
    return customer


async def flows_on(told: Told) -> None:
    """Hundreds more were acknowledged."""
    wanted = len(told.said) + 3 * PLATFORMS * 60

    async def known() -> int:
        return len(told.said)

    await wait_for(known, f"{wanted} uses are acknowledged", lambda seen: seen >= wanted)


async def killed_in_a_batch(doomed: Actors, customers: list[Customer]) -> None:
    """Batches have recorded all but one account, and wait for that."""
    async with held(doomed, max(customers, key=lambda one: one.uuid)):
        await wait_for(lambda: doomed.sql(WAITING), "batches wait in the middle")
        await doomed.control.kill("postgres")


@asynccontextmanager
async def held(doomed: Actors, customer: Customer) -> AsyncIterator[None]:
    """Meanwhile another transaction, that dies with Postgres, has the account's lock."""
    connection = await psycopg.AsyncConnection.connect(dsn(doomed.stack.superuser_url))
    try:
        await connection.execute(
            "SELECT 1 FROM credit_balances WHERE account_id = %s FOR UPDATE", [customer.uuid]
        )
        yield
    finally:
        await connection.close()


async def written(doomed: Actors, customers: list[Customer]) -> list[str]:
    """Events of the records, each as often as it is there."""
    mine = [customer.uuid for customer in customers]
    return [row["event_id"] for row in await doomed.sql(WRITTEN, mine=mine)]


async def prove(doomed: Actors, customers: list[Customer], told: Told) -> None:
    """Every event once, each answer true, and books that agree however they are added up."""
    assert told.unanswered, "no request was under way when Postgres died"
    there = await written(doomed, customers)
    assert len(there) == len(set(there))
    assert set(there) == told.sent == told.acknowledged
    for event, said in told.said.items():
        assert said in (["recorded"], ["duplicate"]), f"{event} was told {said}"
        assert said == ["recorded"] or event in told.doubtful, f"{event} was never recorded"
    assert await differences(doomed.sql, [customer.uuid for customer in customers]) == []
    async with open_operator(doomed.stack) as database:
        for customer in customers:
            report = await integrity.examine(database, customer.uuid)
            assert report.ok, [check for check in report.checks if not check.ok]
