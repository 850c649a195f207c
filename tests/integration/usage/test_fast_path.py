"""Recording takes what is usual by the fast path; it answers and writes what the long way would."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.metering.usage.schemas import Use, UseKind
from billing.metering.usage.sql_batch import Batch, by_account
from devstack.stack import StackInfo, dsn
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.odd_shops import CLAIMED, NOW, SORTS, shop_of

ROUNDS: Final = 40
USUAL: Final = (
    UseKind("repriced", None, None, None, None, None, defer=False),
    UseKind("gpt-4", None, None, "chat", None, None, defer=False),
    UseKind("gpt-4", None, None, None, "large", "wallet_deduction", defer=True),
    UseKind("mcp-call", None, None, None, None, "credit_consumption", defer=False),
    UseKind(None, None, "chat_messages", None, None, None, defer=False),
    UseKind(None, None, "impressions", "draft", "small", None, defer=False),
    UseKind(None, None, "ai_responses", None, None, None, defer=False),
)
ODD: Final = (
    UseKind("gpt-4-mini", None, None, None, None, None, defer=False),  # free units
    UseKind("agent-run", None, None, None, None, None, defer=True),  # tiers
    UseKind("gpt-4", None, None, None, None, "subscription_included", defer=False),
    UseKind(None, None, "storage_gb", None, None, None, defer=False),  # a level
    UseKind("nothing", None, None, None, None, None, defer=False),
    UseKind(None, None, None, "completion", None, None, defer=False),
)
AMOUNTS: Final = ("1", "0.5", "3", "777.123456789012")
# What differs from try to try: names that are made anew, and the real time.
STATE: Final = text(
    """
    WITH names AS (SELECT CAST('{id,transaction_id,real_at,woken_at,created_at,window_id}'
        AS text[]) AS new)
    SELECT
        (SELECT array_agg(to_jsonb(r) - '{transaction_id,written_at}'::text[] || jsonb_build_object(
                'paid_by', (SELECT key FROM credit_transactions WHERE id = r.transaction_id))
            ORDER BY r.id)
        FROM billing_records AS r) AS records,
        (SELECT array_agg(to_jsonb(c) ORDER BY c.account_id, c.owner, c.grain, c.period_start,
            c.bucket, c.meter, c.facet) FROM usage_counters AS c) AS counters,
        (SELECT array_agg(to_jsonb(l) ORDER BY l.id) FROM credit_lots AS l) AS lots,
        (SELECT array_agg(to_jsonb(b) - '{period_id}'::text[] ORDER BY b.account_id)
        FROM credit_balances AS b) AS balances,
        (SELECT array_agg((to_jsonb(t) - n.new) || jsonb_build_object(
            'lot', p.lot_id, 'part', p.amount) ORDER BY t.account_id, t.seq, p.lot_id)
        FROM credit_transactions AS t
        LEFT JOIN credit_transaction_lots AS p ON p.transaction_id = t.id) AS entries,
        (SELECT array_agg(to_jsonb(q) ORDER BY q.id) FROM billing_quotas AS q) AS quotas,
        (SELECT array_agg(to_jsonb(u) ORDER BY u.record_id) FROM unpaid_uses AS u) AS unpaid,
        (SELECT array_agg(to_jsonb(q) - n.new ORDER BY q.account_id) FROM top_ups AS q) AS top_ups,
        (SELECT array_agg(to_jsonb(q) - 'written_at' ORDER BY q.id)
        FROM quota_claims AS q) AS claims,
        (SELECT array_agg(to_jsonb(a) - n.new
            ORDER BY a.account_id, a.subject, a.threshold, a.meter, a.owner, a.window_start)
        FROM usage_alerts AS a) AS alerts,
        (SELECT array_agg(e.data ORDER BY e.account_id, e.seq) FROM events AS e
        WHERE e.account_id = ANY (:accounts)) AS events
    FROM names AS n
    """
)
SHOW: Final = text(
    "SELECT set_config('app.accounts', array_to_string(CAST(:accounts AS uuid[]), ','), true)"
)
GIVEN: Final = (
    "FROM (SELECT CAST(:kinds AS usage_kind[]) AS kinds, CAST(:uses AS usage_input[]) AS uses,"
    " CAST(:accounts AS uuid[]) AS accounts) AS g"
)
OPENED: Final = f"{GIVEN}, usage_open_accounts(g.accounts, g.uses) AS o"
# Held over all ways that are tried: the worker takes up what the rounds before left to it.
LOCK: Final = text("SELECT FROM usage_lock(CAST(:accounts AS uuid[]))")
WHOLE: Final = text(f"SELECT a.* {GIVEN}, usage_record(accounts, kinds, uses, true, false) AS a")
KNOWN: Final = text(
    f"SELECT a.* {GIVEN}, usage_recorded_answers(g.uses, usage_existing_ids(g.uses)) AS a"
)
LONG: Final = text(
    f"SELECT a.* {OPENED}, usage_record_rated(o.accounts, g.kinds, ARRAY("
    "  SELECT u FROM unnest(g.uses) AS u"
    "  WHERE NOT EXISTS (SELECT FROM billing_records WHERE id = u.id) ORDER BY u.place), true) AS a"
)
WAYS: Final = text(
    "SELECT ARRAY(SELECT DISTINCT unnest(d.p_unusual)) AS unusual,"
    " cardinality(d.included) > 0 AS includes,"
    " EXISTS (SELECT FROM usage_quota_sums_fast(o.accounts, k.simple, d.charged || d.included))"
    "  AS counts, EXISTS (SELECT FROM unnest(d.charged) AS u JOIN unnest(k.simple) AS s"
    "  ON s.kind = u.kind WHERE s.product_id = 'repriced') AS reprices,"
    " EXISTS (SELECT FROM unnest(d.charged) WHERE kind > cardinality(g.kinds)) AS owns,"
    " EXISTS (SELECT FROM unnest(d.charged) AS u JOIN unnest(o.accounts) AS a"
    f"  ON a.place = u.account WHERE a.budget_mode = 'block') AS is_capped {OPENED}"
    " CROSS JOIN LATERAL (SELECT usage_traits_of(o.accounts) AS traits) AS c"
    " CROSS JOIN LATERAL usage_own_kinds(o.accounts, g.kinds, g.uses) AS w"
    " CROSS JOIN LATERAL ("
    "  SELECT usage_simple_kinds(w.kinds, w.own, (c.traits).priced_at) AS simple) AS k"
    " CROSS JOIN LATERAL usage_unusual_accounts("
    "  o.accounts, w.kinds, k.simple, w.uses, o.is_current, c.traits) AS t"
    " CROSS JOIN LATERAL usage_record_ordinary_fast("
    "  o.accounts, k.simple, w.uses, c.traits, t.limited, t.unusual) AS d"
)


REPRICED: Final = """
    WITH product AS (
        INSERT INTO products (key, name, meter, service_type, is_active, created_at)
        VALUES ('repriced', 'Repriced', 'mcp_service', 'mcp_service', true, %(at)s)
        ON CONFLICT DO NOTHING RETURNING key)
    INSERT INTO product_prices (id, product, currency, model, unit_price, package_size, free_units,
        tiers, effective_from, effective_to)
    SELECT gen_random_uuid(), key, 'CREDIT', 'per_unit', p.price, 1, p.free, '[]', p.since, p.until
    FROM product, (VALUES
        (0.01, 100, '1970-01-01', %(at)s - interval '30 days'),
        (0.02, 0, %(at)s - interval '30 days', %(at)s - interval '1 day'),
        (0.03, 0, %(at)s - interval '1 day', %(at)s + interval '1 day'),
        (0.04, 0, %(at)s + interval '1 day', NULL)) AS p(price, free, since, until)
"""


def _use(rnd: random.Random, shop: Shop, kinds: list[UseKind]) -> Use:
    event = rnd.choice((None, uuid4().hex))
    outside = rnd.choice((timedelta(days=40), timedelta(days=20), -timedelta(minutes=1)))
    return Use(
        shop.id,
        rnd.choice(kinds),
        rnd.choice(("0.000001", "2000000000")) if rnd.random() < 0.01 else rnd.choice(AMOUNTS),
        event_id=event,
        at=NOW - outside
        if rnd.random() < 0.02
        else rnd.choice((None, None, NOW - timedelta(minutes=rnd.randint(0, 3000)))),
        user_id=rnd.choice((None, "ann", 'bob "\\,{}()')),
        organization_id=rnd.choice((None, None, "acme")),
        session_id=rnd.choice((None, "s, 1")),
        detail=rnd.choice((None, '{"a": "\\"x\\" \\\\ y"}')),
        record_id=None if event else ids.new_hex(),
    )


def _uses(rnd: random.Random, shops: list[Shop], before: list[Use]) -> list[Use]:
    """Uses of some shops, most of usual kinds, some that were sent before, as they were or not."""
    some = rnd.sample(shops, rnd.randint(1, len(shops)))
    kinds = rnd.sample(USUAL, rnd.randint(1, 5))
    if rnd.random() < 0.3:
        kinds.append(rnd.choice(ODD))
    uses = [_use(rnd, rnd.choice(some), kinds) for _ in range(rnd.randint(1, 40))]
    again = rnd.sample(before, min(len(before), rnd.choice((0, 0, 0, 1, 5))))
    uses += [one._replace(amount=rnd.choice((one.amount, "2"))) for one in again]
    rnd.shuffle(uses)
    return uses


class Statement:
    """One statement on uses, undone after each way it is tried."""

    def __init__(self, connection: AsyncConnection, uses: list[Use], groups: list[int]) -> None:
        self.connection = connection
        self.uses, self.groups = uses, groups
        self.values = self._values(uses, groups)

    def _values(self, uses: list[Use], groups: list[int]) -> dict[str, Any]:
        accounts = sorted({use.account_id for use in uses}, key=lambda one: one.int)
        self.batch = Batch(uses, groups, by_account(uses))
        return {**self.batch.values, "accounts": accounts}

    async def told(self, values: dict[str, Any], *ways: Any) -> list[dict[str, Any]]:
        rows = []
        for way in ways:
            rows += [dict(row) for row in (await self.connection.execute(way, values)).mappings()]
        return sorted(rows, key=lambda row: row["place"])

    async def state(self) -> dict[str, Any]:
        await self.connection.execute(SHOW, self.values)
        return dict((await self.connection.execute(STATE, self.values)).mappings().one())

    async def tried(self, *ways: Any) -> dict[str, Any]:
        """The answers, and the rows then."""
        savepoint = await self.connection.begin_nested()
        answers = await self.told(self.values, *ways)
        state = await self.state()
        await savepoint.rollback()
        return {"answers": answers, **state}

    async def one_by_one(self) -> dict[str, Any]:
        """As `tried`, each use by itself the long way, those of an account in their order."""
        savepoint = await self.connection.begin_nested()
        answers, owned = [], by_account(self.uses)
        for place in (place for _, places in owned for place in places):
            if place in self.batch.repeats:
                continue
            values = Statement(self.connection, [self.uses[place]], [1]).values
            await self.connection.execute(SHOW, values)
            (answer,) = await self.told(values, KNOWN, LONG)
            answers.append(answer | {"place": self.batch.places.index(place) + 1})
        state = await self.state()
        await savepoint.rollback()
        return {"answers": answers, **state}

    async def ways(self) -> Counter[str]:
        """Ways of these uses on the fast path: `mixed`, others go the long way; `included`, a plan
        includes some; `quoted`, quotas count some; `repriced`, some have a price that changed;
        `owned`, one of their account's own; `capped`, a blocking budget has enough left for some.
        """
        savepoint = await self.connection.begin_nested()
        found = (await self.connection.execute(WAYS, self.values)).one()
        await savepoint.rollback()
        return Counter(
            mixed=0 < len(found.unusual) < len(self.values["accounts"]), included=found.includes,
            quoted=found.counts, repriced=found.reprices, owned=found.owns, capped=found.is_capped,
        )  # fmt: skip


def _differences(one: Any, other: Any) -> list[str]:
    """The first row in which each table, or the answers, differ."""
    found = []
    for name in one:
        rows, others = one[name] or [], other[name] or []
        if rows != others:
            pairs = [pair for pair in zip(rows, others, strict=False) if pair[0] != pair[1]]
            first, second = pairs[0] if pairs else ({"rows": len(rows)}, {"rows": len(others)})
            keys = sorted(key for key in first | second if first.get(key) != second.get(key))
            words = ", ".join(f"{key}: {first.get(key)} != {second.get(key)}" for key in keys)
            found.append(f"{name} of {first.get('account_id')}: {words}")
    return found


def _but_moments(state: dict[str, Any]) -> dict[str, Any]:
    """Without what tells in which moment of a statement a row was written: how much was used when a
    threshold was seen to be reached, what was left when credits were paid or wanted.
    """
    moments = {"alerts": "used_amount", "entries": "scope", "top_ups": "available"}
    timeless = {
        name: [{**one, moment: None} for one in state[name] or ()]
        for name, moment in moments.items()
    }
    return {**state, **timeless, "events": None}


@pytest.fixture(scope="module")
def repriced(stack: StackInfo) -> None:
    """A product whose price changed a day before, and will a day after."""
    with psycopg.connect(dsn(stack.superuser_url), autocommit=True) as superuser:
        superuser.execute(REPRICED, {"at": NOW})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("repriced")
async def test_a_statement_does_what_the_long_way_would(new_shop: NewShop, seed: int) -> None:
    """Each account by itself, in whatever company: ordinary ones, unusual ones, and repeats."""
    rnd = random.Random(seed)
    shops = [await shop_of(sort, new_shop, rnd) for sort in SORTS]
    database, seen = shops[0].api.database, Counter[str]()
    before = [Use(shop.id, USUAL[-1], "5", event_id=CLAIMED) for shop in shops]
    for _ in range(ROUNDS):
        uses = _uses(rnd, shops, before)
        apart = rnd.random() < 0.5
        groups = list(range(len(uses))) if apart else [1] * len(uses)
        accounts = {use.account_id for use in uses}
        async with database.tenant(*accounts) as connection:
            statement = Statement(connection, uses, groups)
            await connection.execute(LOCK, statement.values)
            done = await statement.tried(WHOLE)
            assert _differences(done, await statement.tried(KNOWN, LONG)) == []
            if apart:
                singly = await statement.one_by_one()
                assert _differences(_but_moments(done), _but_moments(singly)) == []
            repeated = {one["verdict"] for one in done["answers"]} & {"duplicate", "conflict"}
            seen["repeated"] += bool(repeated)
            if not repeated:
                seen += await statement.ways()
            if rnd.random() < 0.5:  # the next round finds records, counters and entries
                await statement.told(statement.values, WHOLE)
                before += [use for use in uses if use.event_id is not None]
    ways = ("mixed", "included", "quoted", "repriced", "owned", "capped", "repeated")
    assert min(seen[one] for one in ways) > 2, seen
