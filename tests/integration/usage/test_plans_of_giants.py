"""An act on a giant account costs what it changes, though Postgres has plans for an average one.

Statistics describe many small accounts beside it, and the plans that answers keep were made for
those. What is read is counted by Postgres, as the program's role.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.prepared import PLANS
from billing.money.usage_voids import service as voids
from tests.integration.catalog.subscribing import START
from tests.integration.rows_fetched import become_program, fetched, scanned
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.holds_made import hold
from tests.integration.usage.shops_on_plans import NOW
from tests.integration.usage.test_agreed_limits import AI, agree, on_plan
from tests.integration.usage.test_months_of_waiting_uses import TIERS
from tests.integration.usage.test_paid_records import near

MANY: Final = 3_000
"""Rows of the giant; others have three times as many in all."""
FEW: Final = 20
"""Rows that an act may read."""
NEW: Final[dict[str, str]] = {"id": "uuidv7()", "key": "gen_random_uuid()"}
OF_OTHERS: Final = NEW | {"account_id": "md5('other ' || n % {others})::uuid"}


async def copy(
    connection: AsyncConnection, shop: Shop, table: str, many: int, **changed: str
) -> None:
    """Write a row of the account so many times, each as the `n`th with what is changed of it."""
    pairs = ", ".join(f"'{name}', {value}" for name, value in changed.items())
    await connection.execute(
        text(
            f"INSERT INTO {table} SELECT c.* FROM (SELECT t FROM {table} AS t"
            " WHERE account_id = :me ORDER BY id DESC LIMIT 1) AS one,"
            f" generate_series(1, {many}) AS n,"
            f" LATERAL jsonb_populate_record(one.t, jsonb_build_object({pairs}, 'n', n)) AS c"
        ),
        {"me": shop.id},
    )


async def grow(connection: AsyncConnection, shop: Shop, table: str, others: int) -> None:
    """Give the account many rows, and so many others a few each."""
    names = {name: value.format(others=others) for name, value in OF_OTHERS.items()}
    await copy(connection, shop, table, MANY, **NEW)
    await copy(connection, shop, table, 3 * MANY, **names)
    await connection.execute(text(f"ANALYZE {table}"))


async def decide(connection: AsyncConnection, shop: Shop) -> None:
    """Go on as a decision of the program does."""
    await become_program(connection, shop.id)
    await connection.execute(text(f"SELECT {PLANS}"))


Act = Callable[[AsyncConnection, Shop, UUID | None], Awaitable[Any]]


def asked(statement: str) -> Act:
    """Ask Postgres about a row of the account."""

    async def act(connection: AsyncConnection, shop: Shop, row: UUID | None) -> Any:
        values = {"me": shop.id, "row": row, "now": NOW}
        return await connection.scalar(text(f"SELECT {statement}"), values)

    return act


async def reads(
    connection: AsyncConnection, table: str, shop: Shop, act: Act, row: UUID | None = None
) -> int:
    """Count the rows of a table that an act reads, as a decision of the program."""
    await decide(connection, shop)
    before = await fetched(connection, table)
    assert await act(connection, shop, row) is not None
    return await fetched(connection, table) - before


LARGE: Final = 16_000
"""Uses or claims, where the time that they take is measured."""


async def processor(connection: AsyncConnection) -> float:
    """Return the seconds that Postgres has computed for this connection."""
    times = psutil.Process(await connection.scalar(text("SELECT pg_backend_pid()"))).cpu_times()
    return float(times.user + times.system)


async def computed(connection: AsyncConnection, statement: str, **values: Any) -> float:
    """Return the seconds that Postgres computes for a statement."""
    before = await processor(connection)
    await connection.execute(text(f"SELECT {statement}"), values)
    return await processor(connection) - before


async def use_beyond(shop: Shop) -> UUID:
    """Use more than the plan includes; return the record of a use that waits for an invoice."""
    await agree(shop, included="1", then="overage", prices={"USD": TIERS})
    await shop.record("4", **AI)
    return ids.decode(ids.BILLING_RECORD, (await shop.record("7", **AI))["billing_id"])


CAPTURE: Final = "(credit_capture_held(ROW(:me, :row, 1, 'r', '{}')::credit_capture_item)).balance"


async def test_a_capture_finds_its_entries_by_their_keys(
    new_shop: NewShop, superuser: AsyncConnection
) -> None:
    shop = await new_shop("10")
    await shop.record("100")
    held = ids.decode(ids.HOLD, await hold(shop))
    await grow(superuser, shop, "credit_transactions", MANY)
    assert await reads(superuser, "credit_transactions", shop, asked(CAPTURE), held) <= FEW


PRICED: Final = "usage_price_again(:me, :start, 'ai_responses', :now)"
CHARGED: Final = """count(usage_charge_after(p.price, 'USD', n, 7, 0))
    FROM generate_series(1, :many) AS n,
        (SELECT usage_price_of(CAST(:tiers AS jsonb)) AS price OFFSET 0) AS p"""


async def test_pricing_uses_again_costs_little_more_than_their_prices(
    new_shop: NewShop, superuser: AsyncConnection
) -> None:
    """Walking an array for each use, or planning its price anew, costs many times as much."""
    shop = await on_plan(new_shop, "basic")
    await use_beyond(shop)
    await copy(superuser, shop, "billing_records", LARGE, **NEW)
    await superuser.execute(text("ANALYZE billing_records"))
    await decide(superuser, shop)
    least = await computed(superuser, CHARGED, many=LARGE, tiers=json.dumps(TIERS))
    assert await computed(superuser, PRICED, me=shop.id, start=START, now=NOW) < 4 * least


OPEN_CLAIMS: Final = text(
    """
    INSERT INTO quota_claims (
        id, account_id, event_id, meter, amount, claimed_at, expires_at, status)
    SELECT uuidv7(), :me, n::text, 'ai_responses', 1, :now,
        CAST(:now AS timestamptz) + interval '10 min', 'open'
    FROM generate_series(1, :many) AS n
    """
)

RESERVED: Final = """sum(quota_reserved(:me, 'ai_responses', :now,
        (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, :many))))
    FROM generate_series(1, :times)"""


async def test_claims_are_summed_in_time_that_grows_with_them(
    new_shop: NewShop, superuser: AsyncConnection
) -> None:
    shop = await on_plan(new_shop, "basic")
    seconds = []
    for many in LARGE // 32, LARGE:
        async with superuser.begin_nested() as grown:
            values = {"me": shop.id, "now": NOW, "many": many}
            await superuser.execute(OPEN_CLAIMS, values)
            await superuser.execute(text("ANALYZE quota_claims"))
            await decide(superuser, shop)
            seconds.append(await computed(superuser, RESERVED, **values, times=LARGE // many))
            await grown.rollback()
    assert seconds[1] < 1.4 * seconds[0] + 0.1


GIVE_BACK: Final = """usage_give_back(:me, :row, t.id, 0.01, now())
    FROM credit_transactions AS t WHERE t.account_id = :me AND t.kind = 'debit'"""


async def test_what_was_given_back_is_looked_for_in_the_months_near_the_entry(
    new_shop: NewShop, superuser: AsyncConnection
) -> None:
    shop = await new_shop("10")
    use = ids.decode(ids.BILLING_RECORD, (await shop.record("100"))["billing_id"])
    await decide(superuser, shop)
    assert await asked(GIVE_BACK)(superuser, shop, use)
    assert await scanned(superuser, "billing_records_") <= near()


async def void(connection: AsyncConnection, shop: Shop, row: UUID | None) -> Any:
    """Void a use as the API does."""
    assert row is not None
    return await voids.void(connection, shop.id, row, "test")


OF_RECORDS: Final[dict[str, Act]] = {
    "verdict": asked("usage_void_verdict(:me, :row, false)"),
    "charged": asked("(usage_void(:me, :row, 1, '{}')).verdict"),
    "void": void,
}


@pytest.mark.parametrize("act", OF_RECORDS)
async def test_a_use_that_is_voided_is_found_by_its_id(
    new_shop: NewShop, superuser: AsyncConnection, act: str
) -> None:
    shop = await on_plan(new_shop, "basic")
    use = ids.decode(ids.BILLING_RECORD, (await shop.record("4", **AI))["billing_id"])
    await grow(superuser, shop, "billing_records", 3 * MANY)
    assert await reads(superuser, "billing_records", shop, OF_RECORDS[act], use) <= FEW


OLD_DAYS: Final = text(
    """
    INSERT INTO usage_counters (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, overage, overage_total)
    SELECT CASE WHEN n = 0 THEN :me ELSE md5('other ' || n)::uuid END, '', 'day',
        date_trunc('month', day, 'UTC'), day, 'ai_responses',
        's|subscription_included|completed|CREDIT', 1, 1, 1, 1, 'epoch', 1, 0, 0
    FROM generate_series(0, :others) AS n CROSS JOIN LATERAL generate_series(
        CAST(:now AS timestamptz) - CASE WHEN n = 0 THEN interval '5 years' ELSE '70 days' END,
        CAST(:now AS timestamptz) - interval '68 days', interval '1 day') AS day
    """
)
RECORDED: Final = "quota_recorded(q, 'UTC', :now) FROM billing_quotas AS q WHERE q.account_id = :me"


async def test_a_window_of_a_quota_reads_its_own_days(
    new_shop: NewShop, superuser: AsyncConnection
) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.quota("100", **AI, window="day")
    await superuser.execute(OLD_DAYS, {"me": shop.id, "now": NOW, "others": MANY})
    await superuser.execute(text("ANALYZE usage_counters"))
    assert await reads(superuser, "usage_counters", shop, asked(RECORDED)) <= FEW


async def watched_plans(connection: AsyncConnection) -> list[str]:
    """Return a list that gets an entry for each plan that the connection's transaction makes."""
    plans = list[str]()
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    driver.add_notice_handler(lambda told: plans.append(told.message_primary))
    for setting in (  # to this connection, and not to the server's log
        "log_min_messages = fatal", "client_min_messages = log", "debug_print_plan = on",
    ):  # fmt: skip
        await connection.execute(text(f"SET LOCAL {setting}"))
    plans.clear()
    return plans


PLANNED_ONCE: Final = (
    "usage_unpaid(:me, 'infinity', n < 0)", "usage_void_verdict(:me, :row, n < 0)"
)  # fmt: skip


@pytest.mark.parametrize("function", PLANNED_ONCE)
async def test_a_function_over_all_months_is_planned_once(
    new_shop: NewShop, superuser: AsyncConnection, function: str
) -> None:
    """Postgres by itself would plan the first five calls of a connection anew, or all."""
    shop = await on_plan(new_shop, "basic")
    use = await use_beyond(shop)
    await superuser.execute(text("SELECT usage_make_months(120)"))
    plans = await watched_plans(superuser)
    await become_program(superuser, shop.id)
    called = text(f"SELECT count(CAST(({function}) AS text)) FROM generate_series(1, :many) AS n")
    await superuser.execute(called, {"me": shop.id, "row": use, "many": 1})
    assert len(plans) > 1, "the plans are seen"
    plans.clear()
    await superuser.execute(called, {"me": shop.id, "row": use, "many": 4})
    assert plans == ["plan:"], "that of the statement which calls it"
