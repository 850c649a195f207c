"""A look at one account reads its own adjustments, not those of all accounts."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.transaction_settings import read_by_index
from billing.insight.integrity import store
from tests.integration.actors import Actors
from tests.integration.rows_fetched import become_program, fetched

MANY = 4_000
THEIRS = text(
    "INSERT INTO billing_audit (account_id, actor, action, subject, detail, at, real_at)"
    " SELECT :id, 'a', 'balance.adjusted', 'adj_' || n, '{}', now(), now()"
    f" FROM generate_series(1, {MANY}) AS n"
)


@pytest.mark.parametrize("with_policy", [False, True])
async def test_adjustments_of_others_are_not_read(
    actors: Actors, superuser: AsyncConnection, with_policy: bool
) -> None:
    mine, theirs = [(await actors.customer()).uuid for _ in range(2)]
    await superuser.execute(text("ALTER TABLE billing_audit DISABLE TRIGGER USER"))
    await superuser.execute(THEIRS, {"id": theirs})
    await superuser.execute(text("ANALYZE billing_audit"))
    await read_by_index(superuser)
    if with_policy:
        await become_program(superuser, mine)
    before = await fetched(superuser, "billing_audit")
    assert await store.ask(superuser, store.WRITTEN["adjustments_told"], real_now(), [mine]) == []
    assert await fetched(superuser, "billing_audit") - before < MANY / 10
