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
from tests.integration.usage.test_asking_before import budget

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


async def passes(shop: Shop, amount: str, **use: Any) -> str | None:
    """The instant at which a refused use passes; from then on it does, and not before."""
    asked = {"requested_amount": amount} | AI | use
    at: str | None = (await shop.post("/quota/check", asked)).json()["passes_at"]
    if at is not None:
        for back, allowed in ((1, [False, None]), (0, [True])):
            then = datetime.fromisoformat(at) - timedelta(seconds=back)
            await shop.rows(f"UPDATE accounts SET clock_at = '{then}' WHERE id = :id RETURNING id")
            check = (await shop.post("/quota/check", asked)).json()
            assert check.get("allowed") in allowed, (at, check)
    return at


async def used_up(new_shop: NewShop, **times: datetime) -> Shop:
    """A shop on a plan that refuses more than it includes, and that is used up."""
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic", **times)
    await shop.record("500", **AI)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, status="past_due", updated_at=NOW)
    return shop


@pytest.mark.parametrize(
    ("amount", "cancel_at", "at"),
    [
        ("190", NOW + timedelta(days=36), None),
        ("51", NOW + timedelta(days=10), None),
        ("50", NOW + timedelta(days=10), "2027-02-01T00:00:00Z"),
        ("400", NOW + timedelta(days=60), "2027-02-05T00:00:00Z"),
    ],
)
async def test_a_use_waits_for_what_an_end_at_a_date_leaves_of_it(
    new_shop: NewShop, amount: str, cancel_at: datetime, at: str | None
) -> None:
    start, end_at = NOW - timedelta(days=4, hours=12), END + timedelta(days=4)
    shop = await used_up(new_shop, start=start.replace(day=5), end=end_at)
    await ends(shop, cancel_at)
    assert await passes(shop, amount) == at


@pytest.mark.parametrize(
    ("amount", "included", "since", "until", "at"),
    [
        ("60", "600", 15, None, "2027-01-25T12:00:00Z"),
        ("600", "600", 31, None, "2027-02-10T12:00:00Z"),
        ("10", "400", -1, 15, "2027-02-01T00:00:00Z"),
        ("600", "600", -1, 15, None),
    ],
)
async def test_a_use_waits_for_the_limit_that_is_agreed_for_later(
    new_shop: NewShop, amount: str, included: str, since: int, until: int | None, at: str | None
) -> None:
    shop = await used_up(new_shop)
    end_at = (NOW + timedelta(days=until)).isoformat() if until else None
    begins = {"effective_from": (NOW + timedelta(days=since)).isoformat()} if since > 0 else {}
    await agree(shop, included=included, effective_to=end_at, **begins)
    assert await passes(shop, amount) == at


async def test_a_use_waits_for_the_month_of_the_plan_that_follows(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at="2027-02-03T00:00:00Z")
    await shop.subscribe("basic", start=NOW.replace(day=5), end=END.replace(day=5))
    await shop.record("500", **AI)
    await ends(shop)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, status="past_due", updated_at=NOW)
    assert await passes(shop, "40") == "2027-03-01T00:00:00Z", "it counts February's use"


async def test_a_quota_of_a_cycle_goes_with_the_cycle(new_shop: NewShop) -> None:
    use = {"requested_amount": "2", "user_id": "ann"} | AI
    for scheduled in ("pause", "end"):
        shop = await on_plan(new_shop, "basic")
        await shop.quota("4", each_user=True, window="cycle", **AI)
        await shop.record("4", user_id="ann", **AI)
        assert (await shop.post("/quota/check", use)).json()["passes_at"] == "2027-02-01T00:00:00Z"
        if scheduled == "pause":
            await schedule(shop, "pause")
            assert await passes(shop, "2", user_id="ann") is None
        else:
            await ends(shop, NOW + timedelta(days=5))
            assert await passes(shop, "2", user_id="ann") == "2027-01-15T12:00:00Z"


async def test_nobody_is_told_to_wait_for_the_end_of_a_trial_without_a_card(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "basic")
    await agree(shop, included="500")
    await shop.record("500", **AI)
    for behavior, at in (("cancel", None), ("invoice", "2027-02-01T00:00:00Z")):
        async with shop.api.database.operator() as connection:
            await change(
                connection, shop.id, status="trialing", trial_end_behavior=behavior, updated_at=NOW
            )
        assert await passes(shop, "60") == at


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


async def test_a_use_waits_for_a_claim_that_outlasts_the_cycle(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=(END - timedelta(minutes=5)).isoformat())
    await shop.subscribe("basic")
    await shop.record("450", **AI)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, status="past_due", updated_at=NOW)
    claim = {"requested_amount": "50", "consume": True, "event_id": "claimed"} | AI
    assert (await shop.post("/quota/check", claim)).json()["allowed"]
    assert await passes(shop, "480") == (END + timedelta(minutes=5)).strftime("%FT%TZ")


async def test_a_use_waits_for_its_budget_and_its_plan_at_one_instant(new_shop: NewShop) -> None:
    start, end_at = NOW - timedelta(days=4, hours=12), END + timedelta(days=4)
    shop = await used_up(new_shop, start=start.replace(day=5), end=end_at)
    await budget(shop, "550", measure="meter", window="month", **AI)
    days = [(NOW + timedelta(days=after)).isoformat() for after in (1, 2)]
    await agree(shop, included="700", effective_from=days[0], effective_to=days[1])
    assert await passes(shop, "100") == "2027-02-05T00:00:00Z", "in February, and in a new cycle"


async def test_the_whole_cycle_behind_a_short_one_is_known_though_more_is_agreed_for_later(
    new_shop: NewShop,
) -> None:
    """A trial ends here, and until the billing day the plan gives a part."""
    trial_end = NOW + timedelta(days=10, hours=12)
    shop = await used_up(new_shop, start=NOW - timedelta(days=9), end=trial_end)
    await agree(shop, included="5000", effective_from=(NOW + timedelta(days=150)).isoformat())
    async with shop.api.database.operator() as connection:
        await change(
            connection, shop.id, status="trialing", trial_end=trial_end, period_number=-2,
            anchor_wall=END.replace(tzinfo=None), trial_end_behavior="invoice",
        )  # fmt: skip
        found = await usage_store.coming(connection, shop.id, "ai_responses", NOW)
    assert [one.at for one in found][:3] == [trial_end, END, NOW + timedelta(days=150)]
