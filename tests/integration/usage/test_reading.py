"""Usage read back, in every vocabulary: zeros for strangers, sums that match the records."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.core.clock import real_now
from tests.integration.usage.conftest import V1, NewShop

NOW = datetime(2027, 3, 1, 1, tzinfo=UTC)


async def test_a_stranger_reads_zeros(new_shop: NewShop) -> None:
    shop = await new_shop()
    headers = shop.api.token("never-heard-of", ["member"])
    for path in ("/usage/current", "/billing/usage/", "/billing/usage/current", "/usage"):
        answer = await shop.api.client.get(f"{V1}{path}", headers=headers)
        assert answer.status_code == 200, path
        body = answer.json()
        assert body["current_period"] == {
            "impressions": "0", "api_calls": "0", "data_transfer_gb": "0",
        }  # fmt: skip
        assert body["overages"]["total_overage_cost"] == "0"


async def test_a_stranger_is_forecast_nothing(new_shop: NewShop) -> None:
    shop = await new_shop()
    headers = shop.api.token("never-heard-of", ["member"])
    answer = await shop.api.client.get(f"{V1}/usage/forecast", headers=headers)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["history_days"], found["cost"]["credits"]["used"]) == (0, "0")
    assert {one["used"] for one in found["meters"].values()} <= {"0"}


async def test_a_stranger_has_no_budgets_no_advice_and_an_empty_report(new_shop: NewShop) -> None:
    shop = await new_shop()
    headers = shop.api.token("never-heard-of", ["member"])
    for path in ("/usage/budgets", "/usage/recommendations", "/usage/reports?format=json"):
        answer = await shop.api.client.get(f"{V1}{path}", headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json()["data"] == []
    answer = await shop.api.client.get(f"{V1}/usage/reports", headers=headers)
    assert len(answer.text.splitlines()) == 1, "its head alone"


async def test_a_month_in_which_a_day_begins_at_one_o_clock_is_one_month(
    new_shop: NewShop,
) -> None:
    # In Santiago the clocks go forward at the midnight in which 6 September 2026 begins.
    at = datetime(2026, 9, 10, 12, tzinfo=UTC)
    shop = await new_shop("100", is_test=True, clock_at=at.isoformat(), zone="America/Santiago")
    for day in (5, 6):
        await shop.record("1", occurred_at=at.replace(day=day).isoformat())
    span = {"start_date": "2026-09-01", "end_date": "2026-09-30"}
    months = (await shop.get("/usage/aggregations", grain="month", **span))["data"]
    assert [(one["start"], one["events"]) for one in months] == [("2026-09-01T04:00:00Z", 2)]


async def test_all_accounts_are_counted_by_their_own_days(new_shop: NewShop) -> None:
    shop = await new_shop("100", zone="Asia/Tokyo")
    day = (real_now() - timedelta(days=21)).date()

    async def counted() -> int:
        answer = await shop.api.client.get(
            f"{V1}/stats",
            params={"start_date": str(day), "end_date": str(day)},
            headers=shop.api.admin(),
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["total_billing_records"])

    before = await counted()
    await shop.record("1", occurred_at=f"{day}T01:00:00Z")
    assert await counted() == before + 1


async def test_logs_sums_and_statistics_tell_the_same_story(new_shop: NewShop) -> None:
    # In New York it is still 28 February, 20:00.
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat(), zone="America/New_York")
    chat: dict[str, Any] = {"product_id": "gpt-4", "operation": "chat", "model": "gpt-4"}
    await shop.record("1000", user_id="ann", organization_id="o-1", **chat)
    await shop.record("500", user_id="bob", operation="summary")
    await shop.record("3", feature_type="impressions")
    before = (NOW - timedelta(days=20)).isoformat()
    await shop.record("2", product_id="mcp-call", occurred_at=before)

    summary = await shop.get("/usage/summary")
    assert [(one["name"], one["credits"]) for one in summary["by_operation"]] == [
        ("chat", "2.00"), ("summary", "1.00"),
    ]  # fmt: skip
    assert [(one["name"], one["quantity"]) for one in summary["by_model"]] == [("gpt-4", "1000.00")]
    assert (summary["total_events"], summary["total_credits"]) == (4, "3.10")
    assert (summary["other_operations"], summary["other_models"]) == (None, None)

    stats = await shop.get("/stats")
    assert stats["total_billing_records"] == stats["completed_billing_records"] == 4
    assert stats["revenue_by_service"] == {"mcp_service": "0.10", "model_inference": "3.00"}
    assert stats["revenue_by_method"] == {"credit_consumption": "3.10"}
    assert (stats["active_users"], stats["active_organizations"]) == (2, 1)
    one_day = await shop.get("/stats", start_date="2027-02-28", end_date="2027-02-28")
    assert one_day["total_billing_records"] == 3
    assert one_day["stats_period_start"] == "2027-02-28T05:00:00Z"

    days = await shop.get("/usage/aggregations", service_type="model_inference")
    assert [(day["start"], day["quantity"]) for day in days["data"]] == [
        ("2027-02-28T05:00:00Z", "1500.00")
    ]
    mine = await shop.get("/usage/aggregations", user_id="ann", grain="month")
    assert [(month["start"], month["quantity"]) for month in mine["data"]] == [
        ("2027-02-01T05:00:00Z", "1000.00")
    ]

    for path in ("/usage/logs", "/billing/credits/usage", "/billing/credits/usage/"):
        logs = await shop.get(path, operation="chat")
        assert [row["model"] for row in logs["data"]] == ["gpt-4"]
    first = await shop.get("/billing/records", limit=3)
    rest = await shop.get("/billing/records", limit=3, cursor=first["pagination"]["next_cursor"])
    assert [row["product_id"] for row in rest["data"]] == ["mcp-call"]
    assert (await shop.get("/billing/records", status="pending"))["data"] == []
    ann = await shop.get("/billing/records/user/ann", status="completed", limit=50, offset=0)
    assert [row["organization_id"] for row in ann["data"]] == ["o-1"]


async def test_a_summary_names_the_largest_and_sums_up_all_others(new_shop: NewShop) -> None:
    shop = await new_shop("1000")
    rows = [
        {"product_id": "mcp-call", "usage_amount": str(n), "operation": f"o-{n:03}",
         "model": f"m-{n:03}"}
        for n in range(1, 104)
    ]  # fmt: skip
    assert (await shop.batch(*rows))["recorded"] == 103
    summary = await shop.get("/usage/summary")
    for names, others, letter in (
        ("by_operation", "other_operations", "o"), ("by_model", "other_models", "m"),
    ):  # fmt: skip
        largest = [f"{letter}-{n:03}" for n in range(103, 3, -1)]
        assert [one["name"] for one in summary[names]] == largest
        assert (summary[others]["quantity"], summary[others]["events"]) == ("6.00", 3)
    report = await shop.get("/usage/reports", group_by="operation", format="json")
    assert len(report["data"]) == 103


async def test_days_the_wrong_way_round_are_refused(new_shop: NewShop) -> None:
    shop = await new_shop()
    for query in ("start_date=2027-02-02&end_date=2027-02-01", "start_date=2020-01-01"):
        answer = await shop.api.client.get(f"{V1}/stats?{query}", headers=shop.headers())
        assert answer.status_code == 422


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
async def test_days_at_the_edge_of_the_calendar_are_refused_by_name(
    new_shop: NewShop, day: str
) -> None:
    shop = await new_shop()
    for path, field in (
        ("/stats", "start_date"), ("/stats", "end_date"), ("/usage/summary", "end_date"),
        ("/usage/reports", "start_date"), ("/usage/reports", "end_date"),
    ):  # fmt: skip
        answer = await shop.api.client.get(f"{V1}{path}?{field}={day}", headers=shop.headers())
        assert answer.status_code == 422, answer.text
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_operators_read_and_put_what_is_counted_and_sold(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    api = shop.api
    for path in ("/admin/meters", "/admin/products", "/admin/price-overrides", "/admin/quotas"):
        assert (await api.client.get(f"{V1}{path}", headers=api.admin())).status_code == 200
    key = f"tool-{shop.account['id'][-8:]}"
    put = f"{V1}/admin/products/{key}"
    body = {
        "name": "Tool", "meter": "mcp_service", "service_type": "mcp_service",
        "prices": {"CREDIT": "1"},
    }  # fmt: skip
    made = await api.client.put(put, json=body, headers=api.admin())
    assert made.json()["changes"] == [
        f"product {key}: added",
        f"price of product {key} in credits: none → 1.00 per unit",
    ]
    assert (await shop.record("2", product_id=key))["total_cost"] == "2.00"
    dearer = await api.client.put(
        f"{put}?allow_large_change=true",
        json=body | {"prices": {"CREDIT": {"unit_price": "3"}}},
        headers=api.admin(),
    )
    assert dearer.json()["changes"] == [
        f"price of product {key} in credits: 1.00 per unit → 3.00 per unit"
    ]
    assert (await shop.record("2", product_id=key))["total_cost"] == "6.00"
    closed = await api.client.put(
        f"{put}?allow_large_change=true", json=body | {"is_active": False}, headers=api.admin()
    )
    assert closed.status_code == 200
    await shop.record("2", status=404, product_id=key)


async def test_products_are_pages_each_with_every_version_of_its_prices(new_shop: NewShop) -> None:
    shop = await new_shop()
    keys = [f"tool-{number}-{shop.account['id'][-8:]}" for number in (1, 2, 3)]
    for key in keys:
        for price in ("1", "2"):
            await shop.sell(key, {"CREDIT": price})
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"limit": 2}
    while "cursor" not in asked or asked["cursor"]:
        answer = await shop.api.client.get(
            f"{V1}/admin/products", params=asked, headers=shop.api.admin()
        )
        page = answer.json()
        found += page["data"]
        assert len(page["data"]) <= 2
        asked["cursor"] = page["pagination"]["next_cursor"]
    assert [one["key"] for one in found if one["key"] in keys] == keys[::-1], "newest first"
    for one in found:
        if one["key"] in keys:
            assert [price["terms"]["unit_price"] for price in one["prices"]] == ["2.00", "1.00"]


async def test_the_views_show_an_account_its_own_uses_and_no_others(new_shop: NewShop) -> None:
    own, other = await new_shop("10"), await new_shop("10")
    for shop in (own, other):
        await shop.record(user_id="ann", usage_details={"tokens": 7})
        await shop.record("3", feature_type="impressions")
    columns = "account_id, usage_amount::integer, metadata"
    assert await own.rows(f"SELECT {columns} FROM usage_records ORDER BY recorded_at") == [
        (own.id, 1000, {"tokens": 7}),
        (own.id, 3, None),
    ]
    assert await own.rows("SELECT account_id, credits::integer FROM credit_usage_logs") == [
        (own.id, 2)
    ]


async def test_a_use_is_listed_with_its_subscription_feature_and_period(new_shop: NewShop) -> None:
    """Within a subscription, whose cycles are no months, and without one."""
    clock = {"is_test": True, "clock_at": "2027-01-10T12:00:00Z"}
    inside, outside = await new_shop("10", **clock), await new_shop("10", **clock)
    cycle = datetime(2027, 1, 5, tzinfo=UTC), datetime(2027, 2, 5, tzinfo=UTC)
    await inside.subscribe("basic", start=cycle[0], end=cycle[1])
    [(subscription,)] = await inside.rows("SELECT id FROM subscriptions")
    month = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    for shop, period, of in ((inside, cycle, subscription), (outside, month, None)):
        await shop.record("1", feature_type="document_uploads")
        await shop.record("1")
        assert await shop.rows(
            "SELECT subscription_id, billing_period_start, billing_period_end, feature_type,"
            " service_type, product_id, meter FROM usage_records ORDER BY recorded_at, id"
        ) == [
            (of, *period, "document_uploads", None, None, "document_uploads"),
            (of, *period, None, "model_inference", "gpt-4", "model_inference"),
        ]
