"""Tries that reached no card are found from the tries, however many invoices are open."""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from billing.core.clock import real_now
from billing.money.invoice_requests import unreached
from devstack.stack import StackInfo, dsn
from tests.integration.scratch import scratch_database, url_of

FEW: Final = 20
"""Times that the attempts may be looked into: once for all, and for each that is found."""
SHOP: Final = """
    SET session_replication_role = replica;
    INSERT INTO accounts (id, external_id, created_at)
        VALUES ('0196a1b2-0000-7000-8000-000000000000', 'owing', now());
    INSERT INTO invoices (id, account_id, workflow_id, fact_key, status, number, currency,
            subtotal_minor, total_minor, amount_due_minor, created_at)
        SELECT gen_random_uuid(), '0196a1b2-0000-7000-8000-000000000000', 'collection/' || n,
            'fact/' || n, 'open', 'INV-' || n, 'EUR', 4900, 4900, 4900, now()
        FROM generate_series(1, 5000) n;
    INSERT INTO payment_attempts (id, account_id, invoice_id, key, status, started_at,
            real_started_at, finished_at)
        SELECT gen_random_uuid(), account_id, id, fact_key, 'declined', began, began, began
        FROM invoices, (SELECT now() - interval '30 days') tried (began);
    INSERT INTO payment_attempts (id, account_id, invoice_id, key, status, started_at,
            real_started_at, finished_at)
        SELECT gen_random_uuid(), account_id, id, fact_key || ago, tried.status, now() - ago,
            now() - ago, now() - interval '1 minute'
        FROM (VALUES (1, 'unreached', interval '70 minutes'), (1, 'unreached', '10 minutes'),
            (2, 'unreached', '10 minutes'), (2, 'declined', '5 minutes'),
            (3, 'unreached', '20 hours')) tried (number, status, ago)
        JOIN invoices ON workflow_id = 'collection/' || tried.number
"""


@pytest.fixture
def shop(stack: StackInfo) -> Iterator[str]:
    """The address of a database in which many owe, and three were tried of late."""
    with scratch_database(stack) as env:
        name = psycopg.conninfo.conninfo_to_dict(dsn(env["DATABASE_URL"]))["dbname"]
        url = url_of(stack.superuser_url, str(name))
        with psycopg.connect(dsn(url), autocommit=True) as superuser:
            for one in SHOP.split(";"):
                superuser.execute(one.encode())
            superuser.execute("VACUUM ANALYZE invoices, accounts, payment_attempts")
        yield url


def visits(plan: dict[str, Any]) -> Iterator[float]:
    """Yield how often each node looked into the attempts."""
    if plan.get("Relation Name") == "payment_attempts":
        yield plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from visits(part)


async def test_the_tries_of_late_are_read_and_not_those_of_each_open_invoice(shop: str) -> None:
    engine = create_async_engine(shop)
    try:
        async with engine.connect() as connection:
            found = await unreached.waiting(connection)
            explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {unreached._OF_ALL.text}")
            ((plan,),) = await connection.execute(
                explain, unreached._SHARED | {"real_at": real_now()}
            )
    finally:
        await engine.dispose()
    # The newest try of the second reached a card; that of the third was undecided for long.
    assert [one.workflow_id for one in found] == ["collection/1", "collection/3"]
    assert max(visits(plan[0]["Plan"])) <= FEW
