"""Counters can always be made from the records again, and what differs is found and mended."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.scheduled_jobs import ScheduledJobs
from billing.catalog.products import store as products
from billing.catalog.products.changes import MeterChange
from billing.catalog.products.spec import MeterSpec
from billing.core.clock import real_now
from billing.core.transaction_settings import limit_statements
from billing.insight.integrity import service as integrity
from billing.insight.rounds import store as rounds
from billing.metering.quotas import counter_rebuild as quota_counters
from billing.metering.usage import counter_rebuild as recounting
from cli import counter_repair
from cli.errors import StackError
from tests.integration.api_app import stack_settings
from tests.integration.catalog.subscribing import START
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.test_voids import void
from workflows.contracts import JobReport, JobRequest

NOW = datetime(2027, 1, 20, 12, tzinfo=UTC)
SUMS = """
    SELECT owner, grain, period_start, bucket, meter, facet, quantity, events, maximum, last_at,
        credits, overage, overage_total
    FROM usage_counters WHERE account_id = :id AND events > 0 ORDER BY 1, 2, 3, 4, 5, 6"""
QUOTAS = "SELECT meter, owner, used FROM billing_quotas WHERE account_id = :id ORDER BY 1, 2, 3"
A_QUOTA = """
    INSERT INTO billing_quotas (id, account_id, owner, meter, window_kind, limit_amount,
        is_hard, alert_percents, window_start, used, used_before, created_at, updated_at)
    SELECT uuidv7(), p.account_id, '', 'chat_messages', 'cycle', 10, true, '{{}}',
        p.start_at, 1, 0, p.start_at, p.start_at
    FROM usage_periods p JOIN credit_balances b ON b.period_id = p.id WHERE b.{MINE}"""
LAST_CYCLE = "SELECT max(start_at) FROM usage_periods WHERE account_id = :id"
TOO_LONG = """
    SELECT '' AS owner, '' AS grain, now() AS bucket, '' AS meter, 0 AS kept, 0 AS true
    FROM pg_sleep(5) AS slept(well)
    WHERE CAST(well AS text) = 'never' AND CAST(:account_id AS uuid) IS NOT NULL
        AND CAST(:since AS timestamptz) IS NOT NULL"""
AS_BEFORE = "SELECT * FROM usage_recount(:id, '-infinity', true)"
DAMAGE = (
    "UPDATE usage_counters SET quantity = quantity + 1 WHERE account_id = :id AND owner = 'u:ann'",
    "DELETE FROM usage_counters WHERE account_id = :id AND owner = 'o:team' AND grain = 'day'",
    "UPDATE usage_counters SET credits = 0 WHERE account_id = :id AND owner = 'p:gpt-4-mini'",
    """
    INSERT INTO usage_counters
    SELECT account_id, 'u:nobody', grain, period_start, bucket, meter, facet, quantity, events,
        maximum, last_value, last_at, credits, overage, overage_total
    FROM usage_counters WHERE account_id = :id AND owner = '' AND grain = 'day'""",
)


async def used_in_every_way(new_shop: NewShop) -> Shop:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat(), zone="Asia/Tokyo")
    who: dict[str, Any] = {"user_id": "ann", "organization_id": "team"}
    await shop.record("1000", operation="chat", model="gpt-4", **who)
    await shop.batch(*({"usage_amount": str(n), "product_id": "gpt-4"} | who for n in (1, 2, 3)))
    await shop.record("3", feature_type="impressions")
    last_month = (NOW - timedelta(days=25)).isoformat()
    await shop.record("5", product_id="mcp-call", occurred_at=last_month, **who)
    for level in ("5", "3"):
        await shop.record(level, product_id="storage", billing_method="credit_consumption")
    await shop.subscribe("basic")
    await shop.record("510", feature_type="ai_responses", **who)
    await shop.record("30000", product_id="gpt-4-mini")
    late = await shop.record("49000", on_insufficient="defer")
    assert late["billing_status"] == "pending"
    await shop.grant("1000000")
    done = await shop.post("/billing/process", {"billing_id": late["billing_id"]})
    assert done.json()["billing_status"] == "completed"
    return shop


async def recount(shop: Shop, *, write: bool) -> tuple[int, list[str]]:
    told: list[str] = []
    settings = stack_settings(shop.api.stack)
    wrong = await counter_repair.check(settings, shop.account["id"], told.append, write=write)
    return wrong, told


async def test_damaged_counters_are_told_and_mended(new_shop: NewShop) -> None:
    shop = await used_in_every_way(new_shop)
    before = await shop.rows(SUMS)
    assert await recount(shop, write=False) == (0, [])
    async with shop.api.database.operator() as connection:
        for damage in DAMAGE:
            assert (await connection.execute(text(damage), {"id": shop.id})).rowcount > 0
    wrong, told = await recount(shop, write=False)
    assert wrong > 3
    assert told[0].startswith(f"{shop.account['id']}: {wrong} counters differ, such as ")
    assert await shop.rows(SUMS) != before
    assert (await recount(shop, write=True))[0] == wrong
    assert await recount(shop, write=False) == (0, [])
    assert await shop.rows(SUMS) == before


async def test_a_worker_of_the_release_before_mends_them_by_the_call_that_compares(
    new_shop: NewShop,
) -> None:
    shop = await used_in_every_way(new_shop)
    before = await shop.rows(SUMS)
    async with shop.api.database.operator() as connection:
        for damage in DAMAGE:
            await connection.execute(text(damage), {"id": shop.id})
    wrong, _ = await recount(shop, write=False)
    async with shop.api.database.operator() as connection:
        told = (await connection.execute(text(AS_BEFORE), {"id": shop.id})).all()
    assert len(told) == wrong
    assert {one.true_events for one in told if one.owner == "u:nobody"} == {None}
    assert {one.kept_events for one in told if one.owner == "o:team"} == {None}
    assert await recount(shop, write=False) == (0, [])
    assert await shop.rows(SUMS) == before


@pytest.mark.parametrize("change", [1, -1])
async def test_a_highest_use_that_is_wrong_alone_is_mended(new_shop: NewShop, change: int) -> None:
    shop = await used_in_every_way(new_shop)
    before = await shop.rows(SUMS)
    damage = text(
        "UPDATE usage_counters SET maximum = maximum + :change WHERE account_id = :id"
        " AND owner = '' AND grain = 'day' AND meter = 'impressions'"
    )
    async with shop.api.database.operator() as connection:
        done = await connection.execute(damage, {"id": shop.id, "change": change})
        assert done.rowcount == 1
    assert (await recount(shop, write=True))[0] == 1
    assert await shop.rows(SUMS) == before
    assert await recount(shop, write=False) == (0, [])


async def test_an_account_that_takes_too_long_is_named_after_all_others_are_mended(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = sorted([await new_shop("100"), await new_shop("100")], key=lambda one: one.id)
    for shop in (slow, other):
        await shop.record("10", user_id="ann")
        async with shop.api.database.operator() as connection:
            await connection.execute(text(DAMAGE[0]), {"id": shop.id})
    recount_one = recounting._recount

    async def recounted(connection: Any, account_id: Any, *rest: Any, **more: Any) -> Any:
        if account_id == slow.id:
            await limit_statements(connection, 1)
            await connection.execute(text("SELECT pg_sleep(1)"))
        return await recount_one(connection, account_id, *rest, **more)

    async def both(*_: Any) -> list[Any]:
        return [slow.id, other.id]

    monkeypatch.setattr(recounting, "_recount", recounted)
    monkeypatch.setattr(recounting, "accounts", both)
    settings = stack_settings(slow.api.stack)
    with pytest.raises(StackError, match=f"not counted in time: {slow.account['id']}$"):
        await counter_repair.check(settings, None, print, write=True)
    assert await recounting.compare(other.api.database, other.id) == []


async def test_uses_of_a_period_that_a_faster_clock_began_are_counted_in_it(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100", is_test=True, clock_at=(START - timedelta(seconds=2)).isoformat())
    await shop.subscribe("basic")
    await shop.record("1000")
    await shop.record("3", feature_type="ai_responses")
    assert await recounting.compare(shop.api.database, shop.id, START) == []
    assert await recounting.rebuild(shop.api.database, shop.id, START) == []
    uses = await shop.rows(
        "SELECT period_start, occurred_at FROM billing_records WHERE account_id = :id"
    )
    assert uses == [(START, START)] * 2
    # As records of before were written.
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text(
                "UPDATE billing_records SET occurred_at = occurred_at - interval '2 seconds'"
                " WHERE account_id = :id"
            ),
            {"id": shop.id},
        )
    differing = await recounting.compare(shop.api.database, shop.id, START)
    assert {one.grain for one in differing} <= {"hour"}


async def test_hours_are_compared_while_their_meter_counts_them(new_shop: NewShop) -> None:
    shop, key = await new_shop("10"), f"hours-{uuid4().hex[:12]}"

    async def write(*hour: Literal["hour"]) -> None:
        spec = MeterSpec(name="Hours", unit="use", feature_types=(key,),
                         grains=("day", "cycle", *hour))  # fmt: skip
        async with shop.api.database.operator() as connection:
            await products.write(connection, MeterChange(key, None, spec), real_now())

    async def counted() -> list[Any]:
        return await shop.rows(
            "SELECT sum(quantity) FROM usage_counters WHERE account_id = :id AND grain = 'hour'"
        )

    await write()
    before = await shop.record("3", feature_type=key)
    await write("hour")
    await write("hour")
    await void(shop, before)
    assert await counted() == [(None,)]
    await shop.record("2", feature_type=key)
    assert await recounting.rebuild(shop.api.database, shop.id) == []
    await write()
    assert await recounting.rebuild(shop.api.database, shop.id) == []
    await void(shop, await shop.record("1", feature_type=key))
    assert await counted() == [(2,)]
    await write("hour")
    async with shop.api.database.operator() as connection:
        since = text("UPDATE meters SET hourly_since = NULL WHERE key = :key")
        await connection.execute(since, {"key": key})
    assert {one.grain for one in await recounting.compare(shop.api.database, shop.id)} == {"hour"}
    async with shop.api.database.operator() as connection:
        await products.write(connection, MeterChange(key, None, None), real_now())


async def test_an_unknown_account_is_named(new_shop: NewShop) -> None:
    shop = await new_shop()
    with pytest.raises(StackError, match="no account 'nobody'"):
        await counter_repair.check(stack_settings(shop.api.stack), "nobody", print, write=False)


async def test_the_hourly_job_mends_the_counters_of_every_account_s_last_cycle(
    new_shop: NewShop, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, honest = await used_in_every_way(new_shop), await used_in_every_way(new_shop)
    before = await damaged.rows(SUMS), await honest.rows(SUMS)
    async with damaged.api.database.operator() as connection:
        for damage in DAMAGE:
            recent = f"{damage} AND period_start = ({LAST_CYCLE})"
            assert (await connection.execute(text(recent), {"id": damaged.id})).rowcount > 0
    wrong, _ = await recount(damaged, write=False)

    report = await sync(damaged, page=100)

    assert report.counts["counters_mended"] >= wrong
    assert report.counts["accounts"] >= 2
    assert f"usage counters of {damaged.id} were wrong" in caplog.text
    assert str(honest.id) not in caplog.text
    assert (await damaged.rows(SUMS), await honest.rows(SUMS)) == before
    assert (await sync(damaged, page=1_000)).counts["counters_mended"] == 0


async def sync(shop: Shop, page: int) -> JobReport:
    """The activity as the schedule runs it, so many accounts at a time."""
    client: Any = None  # this job tells no workflow
    dependencies = Dependencies(
        database=shop.api.database, provider=client, settings=stack_settings(shop.api.stack)
    )
    job = ScheduledJobs(dependencies, client)
    return await ActivityEnvironment().run(job.run, JobRequest(name="usage-sync", limit=page))


async def test_counters_of_an_account_at_rest_are_compared_in_its_turn(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MARGIN", timedelta())
    shop = await new_shop("100")
    await shop.record("10", user_id="ann")
    await sync(shop, page=1_000)
    before = await shop.rows(SUMS)
    async with shop.api.database.operator() as connection:
        await connection.execute(text(DAMAGE[0]), {"id": shop.id})
    await next_after(shop, shop.id)
    await sync(shop, page=1)
    assert await shop.rows(SUMS) != before, "nobody looks at an account at rest"
    await next_after(shop, UUID(int=shop.id.int - 1))
    assert (await sync(shop, page=1)).counts["counters_mended"] > 0
    assert await shop.rows(SUMS) == before


async def next_after(shop: Shop, account_id: UUID) -> None:
    """The next one in turn comes after this account."""
    move = text("UPDATE check_rounds SET noted_account = :id WHERE job = 'usage-sync'")
    async with shop.api.database.operator() as connection:
        await connection.execute(move, {"id": account_id})


async def test_quotas_are_counted_again_in_slices(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota_counters, "SLICE", 2)
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    chat: dict[str, Any] = {"feature_type": "chat_messages"}
    await shop.quota("100")
    await shop.quota("50", window="rolling", span_seconds=3600)
    await shop.quota("9", each_user=True, window="day")
    for user in ("ann", "bob", "cid"):
        await shop.record("3", user_id=user, **chat)
    claim = {"requested_amount": "2", "user_id": "ann", "consume": True, "event_id": "e-1"}
    assert (await shop.post("/quota/check", claim | chat)).json()["allowed"]
    assert await quota_counters.compare(shop.api.database, shop.id) == []
    right = await shop.rows(QUOTAS)
    async with shop.api.database.operator() as connection:
        damage = text(
            "UPDATE billing_quotas SET used = used + 1"
            " WHERE account_id = :id AND window_kind <> 'rolling' AND owner <> 'u*'"
        )
        await connection.execute(damage, {"id": shop.id})
    wrong = [found.name for found in (await integrity.examine(shop.api.database, shop.id)).wrong]
    assert wrong == ["quotas_counted"]
    told: list[str] = []
    assert await counter_repair.check(
        stack_settings(shop.api.stack), shop.account["id"], told.append, write=False
    ) == 4  # fmt: skip
    assert "chat_messages by quota" in told[0]
    found = await quota_counters.rebuild(shop.api.database, shop.id)
    assert {(one.owner, one.kept, one.true) for one in found} >= {("", 12, 11), ("u:ann", 6, 5)}
    assert await shop.rows(QUOTAS) == right
    assert (await integrity.examine(shop.api.database, shop.id)).ok


@pytest.mark.skipif(real_now().day < 4, reason="The older use must be of this month's cycle.")
async def test_a_large_account_is_compared_by_the_days_that_go_on(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recounting, "LARGE", 2)
    shop = await new_shop("100")
    old = (real_now() - timedelta(days=3)).isoformat()
    uses: tuple[dict[str, Any], ...] = ({}, {"occurred_at": old})
    for more in uses:
        await shop.record("10", user_id="ann", **more)
    assert await whole_looks(shop) == [None]
    await sync(shop, page=1_000)
    assert await whole_looks(shop) != [None], "the first look is a whole one"
    before = await shop.rows(SUMS)
    today = "bucket > clock_timestamp() - interval '26 hours'"
    for days, is_seen in ((today, True), (f"NOT {today}", False)):
        async with shop.api.database.operator() as connection:
            damage = text(f"{DAMAGE[0]} AND {days}")
            assert (await connection.execute(damage, {"id": shop.id})).rowcount
        await next_after(shop, UUID(int=shop.id.int - 1))
        await sync(shop, page=1_000)
        assert (await shop.rows(SUMS) == before) == is_seen
    async with shop.api.database.operator() as connection:
        a_week_ago = "UPDATE usage_periods SET counted_at = counted_at - interval '7 days'"
        await connection.execute(text(f"{a_week_ago} WHERE account_id = :id"), {"id": shop.id})
    await next_after(shop, UUID(int=shop.id.int - 1))
    await sync(shop, page=1_000)
    assert await shop.rows(SUMS) == before, "a whole look within a week finds it"


async def whole_looks(shop: Shop) -> list[Any]:
    """The times at which its cycles were compared as a whole."""
    kept = await shop.rows("SELECT counted_at FROM usage_periods WHERE account_id = :id")
    return [one[0] for one in kept]


async def test_the_cycle_before_is_compared_once_when_another_one_has_begun(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    await shop.record("10", user_id="ann")
    await sync(shop, page=1_000)
    last_month = (NOW - timedelta(days=25)).isoformat()
    await shop.record("5", user_id="ann", occurred_at=last_month)
    before = await shop.rows(SUMS)
    async with shop.api.database.operator() as connection:
        await connection.execute(text(DAMAGE[0]), {"id": shop.id})
        forget = "UPDATE usage_periods SET counted_at = NULL WHERE account_id = :id"
        await connection.execute(text(forget), {"id": shop.id})
    await sync(shop, page=1_000)
    assert await shop.rows(SUMS) == before


async def test_an_account_that_takes_too_long_is_noted_and_compared_by_days_from_then_on(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recounting, "LARGE", 1)
    shop = await new_shop("100")
    await shop.record("10", user_id="ann")
    before = await shop.rows(SUMS)
    with monkeypatch.context() as slow:
        slow.setattr(recounting, "_RECOUNT", text(TOO_LONG))
        slow.setattr(recounting, "TIMEOUT_MS", 100)
        report = await sync(shop, page=1_000)
    assert report.counts["failed"] >= 1
    assert f"{shop.id} could not be looked at" in caplog.text
    async with shop.api.database.operator() as connection:
        await connection.execute(text(DAMAGE[0]), {"id": shop.id})
    assert (await sync(shop, page=1_000)).counts["failed"] == 0
    assert await shop.rows(SUMS) == before
