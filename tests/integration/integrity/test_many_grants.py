"""A check of many grants writes the key of each once, and looks once for what was carried from its
invoice, not again for each lot that it compares: an id alone takes a tenth of a millisecond.
"""

from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.transaction_settings import read_by_index
from billing.insight.integrity import store
from tests.integration.actors import Actors, Customer

OTHERS = 1_000
MINE = 300
# A purchase with its invoice and lot, which the money balance paid; a cycle with both.
PACK = """
    'purchase_id', new_id, 'balance_applied_minor', 1000000,
    'grant_key', public_id('pur', new_id) || '/grant'
"""
CYCLE = """
    'period_start', start, 'paid_at', start, 'cycle_start', start,
    'cycle_end', start + interval '1 hour', 'expires_at', start + interval '1 hour',
    'grant_key', (SELECT public_id('sub', id) FROM subscriptions WHERE account_id = :me)
        || CASE WHEN :mine THEN '/cycle-' ELSE '/of-another-' END
        || to_char(start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
"""
ROWS = """
    INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object(
        'id', new_id, 'account_id', CASE WHEN :mine THEN :me ELSE new_id END, 'fact_key', new_id,
        'number', new_id, 'payment_reference', new_id, 'invoice_id', new_id, {fields}))).*
    FROM {table} AS t, generate_series(1, :many) AS n,
         LATERAL (SELECT md5(:seed || n)::uuid, now() - n * interval '1 day') AS new (new_id, start)
    WHERE t.id = (SELECT id FROM {table} WHERE account_id = :me LIMIT 1)
"""
DONE = text(
    "SELECT (SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'public_id')"
    " + (SELECT idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'balance_entries')"
)


async def done_by(
    check: str, superuser: AsyncConnection, customer: Customer, tables: list[str], fields: str
) -> int:
    """The ids that a check writes and the carried amounts that it looks for, of a customer who has
    many of these rows, in a shop in which the planner knows of few each.
    """
    for mine, many in ((False, OTHERS), (True, MINE)):
        values = {"mine": mine, "many": many, "me": customer.uuid, "seed": str(uuid4())}
        for table in tables:
            await superuser.execute(text(ROWS.format(table=table, fields=fields)), values)
        if not mine:
            await superuser.execute(text(f"ANALYZE {', '.join(tables)}"))
    await read_by_index(superuser)
    await superuser.execute(text("SET LOCAL track_functions = 'all'"))
    assert await store.ask(superuser, store.WRITTEN[check], real_now(), [customer.uuid]) == []
    return int(await superuser.scalar(DONE) or 0)


async def test_the_packs_of_an_account_are_looked_through_once(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    tables = ["purchases", "invoices", "credit_lots"]
    done = await done_by("grants_paid_once", superuser, customer, tables, PACK)
    assert MINE <= done < 10 * MINE


async def test_the_cycles_of_an_account_are_looked_through_once(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.subscribed("pro")
    tables = ["invoices", "credit_lots"]
    done = await done_by("cycles_granted_once", superuser, customer, tables, CYCLE)
    assert MINE <= done < 10 * MINE
