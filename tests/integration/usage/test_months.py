"""A use is one use across the turn of a month, and across the upgrade that brought the months."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from billing.catalog.plans import writer
from billing.core import clock, ids
from billing.core.transaction_settings import limit_statements
from billing.metering.usage import months, rules
from billing.metering.usage.rules import FIRST_MONTH, record_key
from tests.integration.api_app import Api
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock
from tests.integration.usage.test_claims import claim
from tests.integration.usage.test_many_claims_end import USERS
from tests.integration.usage.test_many_claims_end import ended as claims_ended
from tests.integration.usage.test_quota_claims import frozen
from tests.integration.usage.test_voids import void

USE: Final[dict[str, Any]] = {"product_id": "gpt-4", "usage_amount": "1000"}
CHAT: Final[dict[str, Any]] = {"feature_type": "chat_messages"}
THIS: Final = clock.real_now().astimezone(UTC).replace(day=1, hour=0, minute=0, second=0)
LAST: Final = (THIS - timedelta(days=1)).replace(day=1)
RANGES: Final = text(
    "SELECT i.relname, i.reloptions AS options FROM pg_index AS x"
    " JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS m ON m.oid = i.relam"
    " WHERE m.amname = 'brin' AND x.indrelid IN ("
    "  SELECT relid FROM pg_partition_tree('billing_records'))"
)
SetEnds = Callable[[timedelta], Awaitable[None]]


def in_last_month(name: str, event_id: str | None, _: datetime) -> str:
    return record_key(name, event_id, LAST)


def before_months(name: str, event_id: str | None, _: datetime) -> str:
    return hashlib.sha256(f"{name}/{event_id}".encode()).hexdigest()[:32]


@pytest.fixture(params=[in_last_month, before_months], ids=["last month", "before the upgrade"])
def past(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], pytest.MonkeyPatch]:
    """Uses sent now come then, until the patch that it answers is undone."""

    def begin() -> pytest.MonkeyPatch:
        monkeypatch.setattr(rules, "record_key", request.param)
        return monkeypatch

    return begin


@pytest.fixture
async def ended(api: Api) -> AsyncIterator[SetEnds]:
    """Has last month, and all of before, end so long ago; as it was afterwards."""
    engine = create_async_engine(api.stack.superuser_url)
    put = text(
        "INSERT INTO usage_months (month, ends_at) VALUES (:month, :ends_at)"
        " ON CONFLICT (month) DO UPDATE SET ends_at = excluded.ends_at"
    )
    async with engine.begin() as owner:
        kept = (await owner.execute(text("SELECT month, ends_at::text FROM usage_months"))).all()

    async def ends(ago: timedelta) -> None:
        async with engine.begin() as owner:
            for month in (LAST.date(), FIRST_MONTH):
                await owner.execute(put, {"month": month, "ends_at": clock.real_now() - ago})

    yield ends
    async with engine.begin() as owner:
        await owner.execute(text("DELETE FROM usage_months"))
        for month, ends_at in kept:
            words = f"INSERT INTO usage_months VALUES ('{month}', '{ends_at}')"
            await owner.execute(text(words))
    await engine.dispose()


async def recorded(shop: Shop) -> int:
    ((count,),) = await shop.rows("SELECT count(*) FROM billing_records WHERE account_id = :id")
    return int(count)


async def test_months_are_made_while_the_catalog_changes(api: Api) -> None:
    async with api.database.operator() as changing, api.database.operator() as making:
        await writer.lock(changing)
        await limit_statements(making, 1_500)
        await months.make(making)


async def test_a_use_sent_again_after_the_turn_of_the_month_is_the_first_one(
    new_shop: NewShop, past: Callable[[], pytest.MonkeyPatch], ended: SetEnds
) -> None:
    await ended(timedelta(days=3))
    shop, event = await new_shop("10"), f"evt-{uuid4()}"
    patch = past()
    first = await shop.record(event_id=event)
    patch.undo()
    assert (await shop.record(event_id=event))["billing_id"] == first["billing_id"]
    rows = [USE | {"event_id": event}, USE | {"event_id": f"{event}-2"}]
    results = (await shop.batch(*rows))["results"]
    assert [row["status"] for row in results] == ["duplicate", "recorded"]
    other = await shop.post("/usage/record", USE | {"event_id": event, "usage_amount": "2"})
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED", other.text
    assert await recorded(shop) == 2
    assert await shop.balance() == 6


async def test_a_use_that_comes_after_the_window_is_a_new_one(
    new_shop: NewShop, past: Callable[[], pytest.MonkeyPatch], ended: SetEnds
) -> None:
    await ended(timedelta(days=36))
    shop, event = await new_shop("10"), f"evt-{uuid4()}"
    patch = past()
    first = await shop.record(event_id=event)
    patch.undo()
    assert (await shop.record(event_id=event))["billing_id"] != first["billing_id"]


async def test_a_claim_is_settled_by_its_record_after_the_turn_of_the_month(
    new_shop: NewShop, past: Callable[[], pytest.MonkeyPatch], ended: SetEnds
) -> None:
    await ended(timedelta())
    shop, event = await new_shop(), f"evt-{uuid4()}"
    await shop.quota("10")
    body = {"requested_amount": "4", "consume": True, "event_id": event} | CHAT
    patch = past()
    assert (await shop.post("/quota/check", body)).json()["allowed"]
    patch.undo()
    assert (await shop.post("/quota/check", body)).json()["allowed"], "the same claim"
    await shop.record("4", event_id=event, **CHAT)
    assert (await shop.post("/quota/check", body)).json()["allowed"], "the same use"
    assert await shop.rows("SELECT used::integer FROM billing_quotas WHERE account_id = :id") == [
        (4,)
    ]
    assert await shop.rows("SELECT status FROM quota_claims WHERE account_id = :id") == [
        ("settled",)
    ]
    await shop.record("4", event_id=event, **CHAT)
    assert await recorded(shop) == 1


async def test_a_record_is_in_the_month_in_which_it_came_and_its_void_beside_it(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10")
    for use in (await shop.record(event_id="a"), await shop.record()):
        await void(shop, use)
    rows = await shop.rows(
        "SELECT month, id, voids FROM billing_records WHERE account_id = :id ORDER BY created_at"
    )
    assert {month for month, *_ in rows} == {THIS.date()}
    assert sorted(voids for *_, voids in rows if voids) == sorted(
        one for _, one, voids in rows if voids is None
    )


@pytest.mark.parametrize("at", [THIS, LAST, datetime(2027, 12, 31, 23, 59, tzinfo=UTC)])
async def test_the_database_makes_the_ids_that_programs_make(api: Api, at: datetime) -> None:
    asked = text(
        "SELECT usage_id_in_month(:id, usage_month_digits(:month)), usage_month_of(:id, true),"
        " usage_id_before(:id, '0'), usage_id_before(:id, 'f')"
    )
    async with api.database.operator() as connection:
        for event in map(str, range(50)):
            old = UUID(hex=before_months("a", event, at))
            new = UUID(hex=record_key("a", event, at))
            for given in (old, new):
                values = {"id": given, "month": at.date().replace(day=1)}
                same, month, least, greatest = (await connection.execute(asked, values)).one()
                assert same == new, event
                if given == new:
                    assert month == at.date().replace(day=1)
                    assert least <= old <= greatest


FOUND: Final = (
    "SELECT r.month FROM billing_records AS r WHERE r.id = {0}"
    " AND r.month = ANY (usage_record_months({0}))"
)
# As statements find records: by an id that is known, that is given to a plan made before, that
# another row has.
LOOKS: Final = {
    "planned": FOUND.format("'{id}'::uuid"),
    "prepared": "EXECUTE found('{id}')",
    "joined": "SELECT b.month FROM unnest(ARRAY['{id}'::uuid]) AS k(id) CROSS JOIN LATERAL"
    f" ({FOUND.format('k.id')} OFFSET 0) AS b",
}


@pytest.mark.parametrize("look", LOOKS)
async def test_a_record_is_looked_for_in_its_month_and_the_first_one_alone(
    new_shop: NewShop, look: str
) -> None:
    shop = await new_shop("10")
    use = await shop.record(event_id="a")
    name = ids.parse(ids.BILLING_RECORD, use["billing_id"])
    async with shop.api.database.operator() as connection:
        for setting in ("plan_cache_mode = force_generic_plan", "enable_seqscan = off"):
            await connection.execute(text(f"SET LOCAL {setting}"))
        await connection.execute(text(f"PREPARE found(uuid) AS {FOUND.format('$1')}"))
        try:
            said = text(f"EXPLAIN (ANALYZE, COSTS OFF) {LOOKS[look].format(id=name)}")
            plan = list(await connection.scalars(said))
        finally:
            await connection.execute(text("DEALLOCATE found"))
    read = [
        line.split(" on ")[1].split()[0]
        for line in plan
        if " on billing_records" in line and "never executed" not in line
    ]
    assert read == ["billing_records_before", f"billing_records_{THIS:%Y_%m}"], plan


async def test_thousands_of_uses_a_second_do_not_flood_the_log_of_postgres(api: Api) -> None:
    """Each range of pages asks for a summary: ranges must be no smaller than 128 pages."""
    async with api.database.operator() as connection:
        found = (await connection.execute(RANGES)).all()
    assert len(found) > 2
    assert [one for one in found if one.options != ["autosummarize=on"]] == []


def test_public_ids_of_events_are_well_formed() -> None:
    key = record_key("a", "b", THIS)
    shown = ids.encode(ids.BILLING_RECORD, UUID(hex=key))
    assert ids.parse(ids.BILLING_RECORD, shown) == UUID(hex=key)


async def test_an_event_whose_claim_of_last_month_is_over_is_claimed_for_another_use(
    new_shop: NewShop, past: Callable[[], pytest.MonkeyPatch], ended: SetEnds
) -> None:
    """Though so many other claims are over that its own would not be released yet."""
    await ended(timedelta())
    shop = await frozen(new_shop)
    await shop.quota("10")
    patch = past()
    assert await claim(shop, "3", "e", feature_type="assessments")
    patch.undo()
    await move_clock(shop, minutes=11)
    await claims_ended(shop, "assessments", USERS, 3600)
    assert await claim(shop, "9", "e")
    assert not await claim(shop, "2"), "the first was counted"
