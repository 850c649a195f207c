"""An hourly look at a large account reads the holds of its last month, not all it ever had."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.transaction_settings import read_by_index
from billing.insight.integrity import openings, store
from tests.integration.actors import Actors
from tests.integration.rows_fetched import fetched

MANY = 4_000
PAST = text(
    "INSERT INTO credit_holds (id, account_id, status, amount, captured, key, request_hash, reason,"
    " created_at, expires_at, resolved_at)"
    " SELECT CAST('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS uuid), :me, 'captured',"
    " 1, 1, 'old/' || n, '', '', at, at, at"
    f" FROM generate_series(1, {MANY}) AS n, (SELECT now() - interval '90 days') AS past (at)"
)


async def test_holds_that_were_over_before_the_opening_are_not_read(
    actors: Actors, superuser: AsyncConnection
) -> None:
    me = (await actors.customer()).uuid
    await superuser.execute(PAST, {"me": me})
    await superuser.execute(text("ANALYZE credit_holds"))
    (opening,) = await openings.read(superuser, [me], real_now(), 0)
    recent = opening.model_copy(update={"at": real_now()})
    await read_by_index(superuser)
    before = await fetched(superuser, "credit_holds")
    assert await store.ask(superuser, store.SINCE["sums"], real_now(), [me], recent) == []
    assert await fetched(superuser, "credit_holds") - before < MANY / 10
