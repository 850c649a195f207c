"""The fast path of recording writes what the long way does, and answers the same."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.metering.usage.schemas import Kind, Use
from billing.metering.usage.sql_batch import Batch, by_account
from tests.integration.usage.conftest import NewShop, Shop

ROUNDS: Final = 40
NOW: Final = datetime(2027, 3, 10, 15, 30, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Berlin", "Pacific/Chatham")
KINDS: Final = (
    Kind("gpt-4", None, None, "chat", None, None, defer=False),
    Kind("gpt-4", None, None, None, "large", "wallet_deduction", defer=True),
    Kind("mcp-call", None, None, None, None, "credit_consumption", defer=False),
    Kind(None, None, "chat_messages", None, None, None, defer=False),
    Kind(None, None, "impressions", "draft", "small", None, defer=False),
    Kind("gpt-4-mini", None, None, None, None, None, defer=False),  # free units: never fast
)
# What differs from try to try: names that are made anew, and the real time.
STATE: Final = text(
    """
    WITH names AS (SELECT CAST('{id,transaction_id,real_at,woken_at,created_at}' AS text[]) AS new)
    SELECT
        (SELECT array_agg(to_jsonb(r) - '{transaction_id}'::text[] || jsonb_build_object(
                'paid_by', (SELECT key FROM credit_transactions WHERE id = r.transaction_id))
            ORDER BY r.id)
        FROM billing_records AS r) AS records,
        (SELECT array_agg(to_jsonb(c) ORDER BY c.account_id, c.owner, c.grain, c.period_start,
            c.bucket, c.meter, c.facet) FROM usage_counters AS c) AS counters,
        (SELECT array_agg(to_jsonb(l) ORDER BY l.id) FROM credit_lots AS l) AS lots,
        (SELECT array_agg(to_jsonb(b) ORDER BY b.account_id) FROM credit_balances AS b) AS balances,
        (SELECT array_agg((to_jsonb(t) - n.new) || jsonb_build_object(
            'lot', p.lot_id, 'part', p.amount) ORDER BY t.account_id, t.seq, p.lot_id)
        FROM credit_transactions AS t
        LEFT JOIN credit_transaction_lots AS p ON p.transaction_id = t.id) AS entries,
        (SELECT array_agg(to_jsonb(a) - n.new ORDER BY a.account_id, a.subject, a.threshold)
        FROM usage_alerts AS a) AS alerts,
        (SELECT array_agg(e.data ORDER BY e.account_id, e.seq) FROM events AS e
        WHERE e.account_id = ANY (:accounts)) AS events
    FROM names AS n
    """
)
OPENED: Final = (
    "FROM (SELECT CAST(:kinds AS usage_kind[]) AS kinds, CAST(:uses AS usage_input[]) AS uses)"
    " AS g, usage_open_accounts(CAST(:accounts AS uuid[]), CAST(:uses AS usage_input[])) AS o"
)
MAY_BE_FAST: Final = text(
    "SELECT o.is_current AND usage_may_be_fast(o.accounts)"
    f" AND usage_fast_kinds(o.accounts, g.kinds) IS NOT NULL {OPENED}"
)
FAST: Final = text(
    f"SELECT usage_record_fast(o.accounts, usage_fast_kinds(o.accounts, g.kinds), g.uses) {OPENED}"
)
FAST_ANSWERS: Final = text(
    "SELECT (a.answer).* FROM (SELECT usage_answers_fast(usage_fast_kinds(o.accounts, g.kinds),"
    f" g.uses) AS answer {OPENED}) AS a"
)
LONG: Final = text(
    f"SELECT a.* {OPENED}, usage_record_rated(o.accounts, g.kinds, g.uses, true) AS a"
)


async def _shop(new_shop: NewShop, rnd: random.Random) -> Shop:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat(), zone=rnd.choice(ZONES))
    for amount, paid in (("1.5", True), ("2", False), ("0.25", True), ("3000", True)):
        await shop.grant(amount, paid=paid)
    if rnd.random() < 0.3:
        answer = await shop.api.client.put(
            "/api/v1/usage/budgets", json={"limit": "1", "measure": "credits"},
            headers=shop.headers(),
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
    return shop


def _use(rnd: random.Random, shop: Shop, kinds: list[Kind]) -> Use:
    return Use(
        shop.id,
        rnd.choice(kinds),
        "0.000001" if rnd.random() < 0.01 else rnd.choice(("1", "0.5", "777.123456789012")),
        event_id=rnd.choice((None, uuid4().hex)),
        at=rnd.choice((None, None, NOW - timedelta(minutes=rnd.randint(0, 3000)))),
        user_id=rnd.choice((None, "ann", 'bob "\\,{}()')),
        organization_id=rnd.choice((None, None, "acme")),
        session_id=rnd.choice((None, "s, 1")),
        detail=rnd.choice((None, '{"a": "\\"x\\" \\\\ y"}')),
    )


async def _tried(connection: AsyncConnection, values: dict[str, Any], *, fast: bool) -> Any:
    """The rows after one of the two ways, and its answers; undone."""
    await connection.execute(text("SAVEPOINT before"))
    if fast and not await connection.scalar(FAST, values):
        await connection.execute(text("ROLLBACK TO SAVEPOINT before"))
        return None
    told = await connection.execute(FAST_ANSWERS if fast else LONG, values)
    answers = sorted((dict(row) for row in told.mappings()), key=lambda row: row["place"])
    state = (await connection.execute(STATE, values)).mappings().one()
    await connection.execute(text("ROLLBACK TO SAVEPOINT before"))
    return answers, dict(state)


@pytest.mark.parametrize("seed", range(2))
async def test_the_fast_path_writes_what_the_long_way_does(new_shop: NewShop, seed: int) -> None:
    rnd = random.Random(seed)
    shops = [await _shop(new_shop, rnd) for _ in range(4)]
    database, compared = shops[0].api.database, 0
    for _ in range(ROUNDS):
        some = rnd.sample(shops, rnd.randint(1, 4))
        kinds = rnd.sample(KINDS[:-1] if rnd.random() < 0.8 else KINDS, rnd.randint(1, 4))
        uses = [_use(rnd, rnd.choice(some), kinds) for _ in range(rnd.randint(1, 30))]
        groups = range(len(uses)) if rnd.random() < 0.5 else [1] * len(uses)
        batch = Batch(uses, groups, by_account(uses))
        accounts = sorted({use.account_id for use in uses}, key=lambda one: one.int)
        async with database.tenant(*accounts) as connection:
            values = {**batch.values, "accounts": accounts}
            if not await connection.scalar(MAY_BE_FAST, values):
                continue
            fast = await _tried(connection, values, fast=True)
            if fast is None:  # somebody may not be able to pay, or a use costs too little
                continue
            assert fast == await _tried(connection, values, fast=False)
            compared += 1
            if rnd.random() < 0.5:  # the next round finds counters and entries
                assert await connection.scalar(FAST, values)
    assert compared > ROUNDS / 2
