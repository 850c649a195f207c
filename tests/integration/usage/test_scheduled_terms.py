"""Ends, pauses, plans and agreed limits count from their instant on, before any step is done."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as plans
from billing.core import ids
from billing.core.clock import real_now
from billing.insight.integrity import service as integrity
from billing.metering.usage import store as usage_store
from tests.integration.catalog.subscribing import END, change
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import CHAT, NOW, move_clock, on_plan
from tests.integration.usage.test_agreed_limits import agree, end, shown

AI: dict[str, Any] = {"feature_type": "ai_responses"}


async def ends(shop: Shop, at: datetime | None = None) -> None:
    """Its subscription is canceled: at a date, or with its period."""
    async with shop.api.database.operator() as connection:
        await change(
            connection, shop.id, cancel_at_period_end=at is None, cancel_at=at, updated_at=NOW
        )


async def schedule(shop: Shop, kind: str, plan: str | None = None, seats: int = 0) -> None:
    """A pause, or a change of its plan, is to come with its period's end."""
    async with shop.api.database.operator() as connection:
        terms = await terms_of(connection, plan, seats) if plan else "{}"
        await connection.execute(
            text(
                "INSERT INTO subscription_changes (id, account_id, subscription_id, kind, wanted,"
                " terms, status, effective_at, created_at)"
                " SELECT :change, account_id, id, :kind, '{}', CAST(:terms AS jsonb), 'scheduled',"
                " current_period_end, :now FROM subscriptions WHERE account_id = :id"
            ),
            {"change": ids.new(), "kind": kind, "terms": terms, "now": NOW, "id": shop.id},
        )
        await usage_store.follow(connection, shop.id, NOW)


async def terms_of(connection: AsyncConnection, plan: str, seats: int) -> str:
    """The plan, or a version of it in which each of these seats has what it includes."""
    found = await plans.find_plan(connection, plan)
    assert found is not None
    plan_id = found.id
    if seats:
        plan_id = await connection.scalar(
            text(
                "INSERT INTO plans SELECT (jsonb_populate_record(p, jsonb_build_object("
                " 'id', uuidv7(), 'version', 1000 + floor(random() * 1000000)::int,"
                " 'is_current', false, 'seats', jsonb_build_object("
                "  'least', 1, 'most', 50, 'limits', true, 'credits', false)))).*"
                " FROM plans p WHERE id = :id RETURNING id"
            ),
            {"id": found.id},
        )
    price = 0 if plan == "free" else 1900
    return json.dumps({"plan_id": str(plan_id), "unit_minor": price, "quantity": max(1, seats)})


async def is_free(shop: Shop) -> bool:
    """True if limits, usage and entitlements are those of the default plan."""
    plan = (await shop.get("/billing/entitlements"))["plan"]
    assert (await shop.get("/usage/current"))["plan"] == plan
    return bool(plan == "free") and await shown(shop) == ["50.00"] * 3


async def periods(shop: Shop) -> list[tuple[datetime, bool]]:
    """The start of each usage period, and whether it is without a subscription."""
    return await shop.rows(
        "SELECT start_at, subscription_id IS NULL FROM usage_periods WHERE account_id = :id"
        " ORDER BY start_at"
    )


async def wrong(shop: Shop) -> list[str]:
    found = [one.name for one in (await integrity.examine(shop.api.database, shop.id)).wrong]
    return [name for name in found if name.startswith("usage_")]


async def test_an_end_with_the_period_is_its_end_though_nothing_has_run(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.record("500", **AI)
    await ends(shop)
    await move_clock(shop, days=25)
    assert await is_free(shop)
    await shop.record("50", **AI)
    refused = await shop.record("1", status=429, **AI)
    assert (refused["limit"], refused["used"]) == ("50.00", "50.00")
    async with shop.api.database.operator() as connection:
        at = END + timedelta(days=10)
        await change(connection, shop.id, status="canceled", ended_at=at, updated_at=at)
    assert await is_free(shop)
    assert (await periods(shop))[-1] == (END, True), "the step finds what use has begun"
    assert not await wrong(shop)


async def test_an_end_behind_a_renewal_that_nobody_did_is_its_end(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.record("1", **AI)
    ended = END + timedelta(days=9)
    await ends(shop, ended)
    await move_clock(shop, days=40)
    assert await is_free(shop)
    await shop.record("1", **AI)
    assert (await periods(shop))[-1] == (ended, True)
    assert not await wrong(shop)


async def test_an_end_at_a_date_within_a_cycle_ends_its_terms(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.record("400", **AI)
    await ends(shop, NOW + timedelta(hours=2))
    assert await shown(shop) == ["500.00"] * 3
    await move_clock(shop, hours=3)
    await shop.record("1", status=429, **AI)
    assert (await shop.get("/billing/entitlements"))["plan"] == "free"
    assert (await shop.get("/usage/current"))["plan"] == "free"
    check = await shop.post("/quota/check", {"requested_amount": "1"} | AI)
    assert check.json()["allowed"] is False
    late = await shop.record(
        "1", status=429, occurred_at=(NOW + timedelta(hours=2)).isoformat(), **AI
    )
    assert late["limit"] == "50.00", "since that date"
    assert not await wrong(shop)


async def test_an_end_that_is_taken_back_leaves_the_cycle(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await ends(shop, NOW + timedelta(hours=2))
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, cancel_at=None, updated_at=NOW)
    await move_clock(shop, hours=3)
    assert await shown(shop) == ["500.00"] * 3


async def test_a_pause_that_nobody_has_begun_gives_nothing(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await schedule(shop, "pause")
    assert await shown(shop) == ["500.00"] * 3
    await move_clock(shop, days=25)
    refused = await shop.record("1", status=403, **AI)
    assert (refused["code"], refused["reason"]) == ("NO_ENTITLEMENT", "paused")
    assert (await shop.get("/billing/entitlements"))["access"] == "none"


@pytest.mark.parametrize(
    ("plan", "seats", "units"),
    [("basic", 0, "500.00"), ("basic", 3, "1500.00"), ("free", 0, "50.00"), ("free", 3, "150.00")],
)
async def test_a_smaller_plan_comes_with_its_period(
    new_shop: NewShop, plan: str, seats: int, units: str
) -> None:
    shop = await on_plan(new_shop, "pro")
    await shop.record("400", **AI)
    await schedule(shop, "plan", plan, seats)
    assert await shown(shop) == ["5000.00"] * 3
    await move_clock(shop, days=25)
    assert await shown(shop) == [units] * 3
    assert (await shop.get("/billing/entitlements"))["plan"] == plan


@pytest.mark.parametrize("what", ["end", "pause", "plan"])
async def test_nobody_is_told_to_wait_for_what_does_not_come(new_shop: NewShop, what: str) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.record("500", **AI)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, status="past_due", updated_at=NOW)
    asked = {"requested_amount": "60"} | AI
    before = (await shop.post("/quota/check", asked)).json()
    assert (before["allowed"], before["passes_at"]) == (False, "2027-02-01T00:00:00Z")
    if what == "end":
        await ends(shop)
    else:
        await schedule(shop, what, "free" if what == "plan" else None)
    check = (await shop.post("/quota/check", asked)).json()
    assert (check["allowed"], check["passes_at"]) == (False, None)
    refused = await shop.post("/usage/record", {"usage_amount": "60"} | AI)
    assert (refused.status_code, refused.headers.get("Retry-After")) == (429, None)


async def test_an_agreed_limit_ends_and_begins_at_its_instant(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    until, again = (NOW + timedelta(hours=hours) for hours in (1, 3))
    await agree(shop, included="60", effective_to=until.isoformat())
    await agree(shop, included="70", effective_from=again.isoformat())
    assert await shown(shop) == ["60.00"] * 3
    await shop.record("55", **AI)
    await move_clock(shop, hours=2)
    assert await shown(shop) == ["50.00"] * 3
    await shop.record("1", status=429, **AI)
    await move_clock(shop, hours=2)
    assert await shown(shop) == ["70.00"] * 3
    await shop.record("15", **AI)
    await end(shop)
    assert await shown(shop) == ["50.00"] * 3


async def test_a_use_since_an_agreed_limit_ended_has_the_plans_terms(new_shop: NewShop) -> None:
    """Also if nobody looked until after it."""
    shop = await on_plan(new_shop, "free")
    until = (NOW + timedelta(hours=1)).isoformat()
    agreed: dict[str, Any] = {"included": "1", "then": "overage", "prices": {"USD": "0.01"}}
    await agree(shop, **agreed, effective_to=until)
    await shop.record("60", **AI)
    await move_clock(shop, hours=3)
    late = {"occurred_at": (NOW + timedelta(hours=2)).isoformat()} | AI
    assert (await shop.record("1", status=429, **late))["limit"] == "50.00"
    await shop.record("1", occurred_at=(NOW + timedelta(minutes=30)).isoformat(), **AI)


async def test_claims_look_again_once_an_agreed_limit_ends(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("1000")
    until = real_now() + timedelta(minutes=5)
    await agree(shop, included="60", effective_to=until.isoformat())
    claim = {"requested_amount": "1", "consume": True, "event_id": "one"} | CHAT
    assert (await shop.post("/quota/check", claim)).json()["allowed"]
    ((fast_until,),) = await shop.rows(
        "SELECT plain_until FROM billing_quotas WHERE account_id = :id AND NOT is_derived"
    )
    assert fast_until <= until, "no lock is taken until then"
