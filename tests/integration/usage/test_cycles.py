"""A counter is a day within a cycle: days and cycles read from the same rows, each exactly."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from billing.money.invoices import arrears
from billing.money.subscriptions import reading as subscriptions
from billing.platform.decisions.service import Read
from tests.integration.catalog.subscribing import change, subscribe
from tests.integration.insight.test_budgets import move_to, put
from tests.integration.usage.conftest import V1, NewShop, Shop

DAY = datetime(2027, 1, 20, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)
MONTH = timedelta(days=31)
AI: dict[str, Any] = {"feature_type": "ai_responses"}


@pytest.fixture
async def split(new_shop: NewShop) -> Shop:
    """3 AI responses at ten, and 4 at two; at noon a cycle of the plan began."""
    shop = await new_shop("1000", is_test=True, clock_at=(DAY + timedelta(hours=10)).isoformat())
    await shop.record("3", user_id="ann", **AI)
    await move_to(shop, NOON)
    await shop.subscribe("basic", start=NOON, end=NOON + MONTH)
    await move_to(shop, DAY + timedelta(hours=14))
    await shop.record("4", user_id="ann", **AI)
    return shop


async def alerts(shop: Shop) -> list[Any]:
    return await shop.rows(
        "SELECT threshold, used_amount FROM usage_alerts WHERE account_id = :id ORDER BY 1"
    )


async def test_a_day_in_which_a_cycle_begins_is_one_day_and_two_cycles(split: Shop) -> None:
    now = (await split.get("/usage/current"))["meters"]["ai_responses"]
    assert (now["quantity"], now["events"], now["remaining"]) == ("4.00", 1, "496.00")
    for whose in ({}, {"user_id": "ann"}):
        days = await split.get("/usage/aggregations", **whose)
        assert [(one["start"], one["quantity"], one["events"]) for one in days["data"]] == [
            ("2027-01-20T00:00:00Z", "7.00", 2)
        ]
    day = {"start_date": "2027-01-20", "end_date": "2027-01-20"}
    assert (await split.get("/stats", **day))["total_billing_records"] == 2
    answer = await split.api.client.get(f"{V1}/usage/reports", headers=split.headers())
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [(row["day"], row["quantity"], row["events"]) for row in rows] == [
        ("2027-01-20", "7.00", "2")
    ]


async def test_a_budget_counts_its_window_on_a_day_in_which_a_cycle_begins(split: Shop) -> None:
    cycle = await put(split, "100", measure="meter", window="cycle", **AI)
    month = await put(split, "100", measure="meter", window="month", **AI)
    assert (cycle["used"], month["used"]) == ("4.00", "7.00")


async def test_a_plan_s_alerts_add_days_and_ways_up_and_come_once(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOON.isoformat())
    await shop.subscribe("basic", start=NOON, end=NOON + MONTH)
    await shop.record("200", **AI)
    await shop.record("150", service_type="api_gateway", **AI)
    await move_to(shop, NOON + timedelta(days=1))
    assert await alerts(shop) == []
    await shop.record("60", **AI)
    assert await alerts(shop) == [(80, 410)]
    early = (NOON + timedelta(hours=1)).isoformat()
    await shop.record("95", occurred_at=early, **AI)
    assert await alerts(shop) == [(80, 410), (100, 505)]
    told = await shop.rows(
        "SELECT DISTINCT occurred_at FROM events WHERE account_id = :id"
        " AND type = 'evt.billing.usage.threshold_reached'"
    )
    assert told == [(NOON + timedelta(days=1),)], "it is told when it is reached"


async def test_free_units_last_for_a_cycle_and_go_on_with_a_plan_of_the_same_month(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10", is_test=True, clock_at=(NOON - timedelta(days=1)).isoformat())
    mini: dict[str, Any] = {"product_id": "gpt-4-mini"}
    assert (await shop.record("6000", **mini))["total_cost"] == "0"
    await move_to(shop, NOON - timedelta(minutes=1))
    assert (await shop.record("6000", **mini))["total_cost"] == "0.40"
    await move_to(shop, NOON)
    await shop.subscribe("basic", start=NOON, end=NOON + MONTH)
    assert (await shop.record("6000", **mini))["total_cost"] == "1.20"
    await move_to(shop, NOON + MONTH)
    assert (await shop.record("6000", **mini))["total_cost"] == "0"


async def test_one_batch_gives_free_units_that_go_on_once_for_both_cycles(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10", is_test=True, clock_at=(NOON - timedelta(days=1)).isoformat())
    mini: dict[str, Any] = {"product_id": "gpt-4-mini"}
    await shop.record("1", **mini)
    await move_to(shop, NOON)
    await shop.subscribe("basic", start=NOON, end=NOON + MONTH)
    before = {"usage_amount": "9999", "occurred_at": (NOON - timedelta(hours=1)).isoformat()}
    await shop.batch(mini | before, mini | {"usage_amount": "10000"})
    assert await shop.balance() == 8


async def test_what_a_card_paid_is_on_no_invoice_s_line(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOON.isoformat())
    async with shop.api.database.operator() as connection:
        subscription = await subscribe(
            connection, shop.id, "basic", "active", start=NOON, end=NOON + MONTH
        )
    await shop.record("510", **AI)
    async with shop.api.database.tenant(shop.id) as connection:
        await connection.execute(
            text(
                "INSERT INTO usage_counters SELECT account_id, owner, grain, period_start, bucket,"
                " meter, '|payment_charge|completed|USD', 7, 1, 7, 7, last_at, 0, 7, 0.14"
                " FROM usage_counters WHERE account_id = :id AND owner = ''"
            ),
            {"id": shop.id},
        )
        read = Read(subscription, deciding=True, locked=False)
        rows, facts = await subscriptions.read(connection, read)
    lines = arrears.lines(rows, facts.usage)
    assert [(line.quantity, line.amount_minor) for line in lines] == [(Decimal(10), 20)]
    now = await shop.get("/usage/current")
    assert now["overages"]["by_meter"] == {"ai_responses": "0.20"}
    assert now["meters"]["ai_responses"]["quantity"] == "517.00"


async def test_a_level_over_two_cycles_is_never_more_than_its_highest_reading(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOON.isoformat())
    await shop.subscribe("basic", start=NOON - MONTH, end=NOON)
    await move_to(shop, NOON - timedelta(days=2))
    storage: dict[str, Any] = {"service_type": "storage_minio"}
    for reading in ("5", "5", "7"):
        await shop.record(reading, user_id="ann", operation="sync", **storage)
    await move_to(shop, NOON)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, cycle_start=NOON, cycle_end=NOON + MONTH)
    await shop.record("8", user_id="ann", operation="sync", **storage)
    await shop.record("6", **storage)
    await move_to(shop, NOON + timedelta(days=1))
    await shop.record("6", user_id="ann", operation="sync", **storage)

    summary = await shop.get("/usage/summary")
    for by in ("by_meter", "by_operation"):
        assert [(one["quantity"], one["events"]) for one in summary[by]] == [
            ("8.00", 6 if by == "by_meter" else 5)
        ]
    for whose in ({}, {"user_id": "ann"}, {"service_type": "storage_minio"}):
        days = (await shop.get("/usage/aggregations", **whose))["data"]
        assert [one["quantity"] for one in days] == [one["maximum"] for one in days]
        (month,) = (await shop.get("/usage/aggregations", grain="month", **whose))["data"]
        assert (month["quantity"], month["maximum"]) == ("8.00", "8.00")
    for group_by, quantities in (
        ("day", ["7.00", "8.00", "6.00"]), ("meter", ["8.00"]), ("user", ["8.00", "8.00"]),
    ):  # fmt: skip
        report = await shop.get("/usage/reports", format="json", group_by=group_by)
        assert [row["quantity"] for row in report["data"]] == quantities


async def test_the_last_of_readings_at_one_instant_is_the_last_that_came(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOON.isoformat())
    storage: dict[str, Any] = {"product_id": "storage", "billing_method": "credit_consumption"}

    async def seen() -> tuple[str, str]:
        meter = (await shop.get("/usage/current"))["meters"]["storage_gb"]
        return meter["maximum"], meter["last_value"]

    await shop.record("5", **storage)
    await shop.record("4", **storage)
    assert await seen() == ("5.00", "4.00")
    await shop.batch(*({"usage_amount": n} | storage for n in ("3", "9", "6")))
    assert await seen() == ("9.00", "6.00")
    earlier = (NOON - timedelta(hours=1)).isoformat()
    await shop.record("1", occurred_at=earlier, **storage)
    assert await seen() == ("9.00", "6.00")
    owed = await shop.record("55", on_insufficient="defer", **storage)
    await shop.record("7", **storage)
    await shop.grant("10000")
    done = await shop.post("/billing/process", {"billing_id": owed["billing_id"]})
    assert done.json()["billing_status"] == "completed"
    assert await seen() == ("55.00", "7.00")


async def test_the_last_value_of_a_sum_is_that_of_its_last_use(new_shop: NewShop) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOON.isoformat())
    await shop.record("1000")
    await shop.record("5")
    meter = (await shop.get("/usage/current"))["meters"]["model_inference"]
    assert (meter["maximum"], meter["last_value"]) == ("1000.00", "5.00")
    await shop.batch(*({"usage_amount": n, "product_id": "gpt-4"} for n in ("30", "90", "60")))
    meter = (await shop.get("/usage/current"))["meters"]["model_inference"]
    assert meter["last_value"] == "60.00"


async def test_a_long_cycle_does_not_stretch_how_late_a_use_may_come(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOON.isoformat())
    await shop.subscribe("basic", start=NOON - 3 * MONTH, end=NOON + MONTH)
    for meter in ("impressions", "ai_responses"):
        for days, status in ((34, 201), (36, 422)):
            at = (NOON - timedelta(days=days)).isoformat()
            answer = await shop.record("1", status, feature_type=meter, occurred_at=at)
            assert status == 201 or answer["code"] == "EVENT_TOO_OLD"


@pytest.mark.parametrize("days", [(34, 20), (20, 34)])
async def test_late_uses_count_in_the_months_they_were_of_whichever_comes_first(
    new_shop: NewShop, days: tuple[int, int]
) -> None:
    shop = await new_shop(is_test=True, clock_at=datetime(2027, 3, 5, tzinfo=UTC).isoformat())
    await shop.record("1", **AI)
    for ago in days:
        at = datetime(2027, 3, 5, tzinfo=UTC) - timedelta(days=ago)
        await shop.record(str(ago), occurred_at=at.isoformat(), **AI)
    assert await shop.rows(
        "SELECT to_char(p.start_at, 'MM-DD'), to_char(p.end_at, 'MM-DD'), c.quantity"
        " FROM usage_periods AS p LEFT JOIN usage_cycles AS c"
        "  ON c.account_id = p.account_id AND c.period_start = p.start_at AND c.owner = ''"
        " WHERE p.account_id = :id ORDER BY 1"
    ) == [("01-01", "02-01", 34), ("02-01", "03-01", 20), ("03-01", "04-01", 1)]


async def test_what_a_plan_lets_go_for_nothing_uses_up_no_free_units(new_shop: NewShop) -> None:
    shop = await new_shop("10", is_test=True, clock_at=NOON.isoformat())
    await shop.subscribe("basic", start=NOON, end=NOON + MONTH)
    async with shop.api.database.tenant(shop.id) as connection:
        await connection.execute(
            text(
                "UPDATE usage_periods SET limits = jsonb_build_object('model_inference',"
                " jsonb_build_object('included', '100', 'then', 'notify', 'price', '0'))"
                " WHERE account_id = :id"
            ),
            {"id": shop.id},
        )
    await shop.record("9000", product_id="gpt-4-mini")
    assert await shop.rows(
        "SELECT sum(quantity) FROM usage_cycles WHERE account_id = :id AND owner LIKE 'p:%'"
    ) == [(None,)]


async def test_cycles_show_a_reader_its_own_account_only(split: Shop, new_shop: NewShop) -> None:
    other = await new_shop()
    await other.record("1", **AI)
    assert await split.rows("SELECT sum(quantity) FROM usage_cycles WHERE owner = ''") == [
        (Decimal(7),)
    ]
    assert await other.rows("SELECT sum(quantity) FROM usage_cycles WHERE owner = ''") == [
        (Decimal(1),)
    ]
