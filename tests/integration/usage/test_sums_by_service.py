"""Sums by service: by the uses' own service, from records where counters do not tell it."""

from typing import Any
from uuid import uuid4

from billing.catalog.products import store as products
from billing.catalog.products.changes import MeterChange
from billing.catalog.products.spec import MeterSpec
from billing.core.clock import real_now
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW, move_clock


async def sums(shop: Shop, **query: str) -> dict[str, str]:
    found = await shop.get("/usage/aggregations", **query)
    return {bucket["meter"]: bucket["quantity"] for bucket in found["data"]}


async def refused(shop: Shop, **query: str) -> Any:
    answer = await shop.api.client.get(
        f"{V1}/usage/aggregations", params=query, headers=shop.headers()
    )
    assert answer.status_code == 422, answer.text
    return answer.json()["detail"]


async def test_a_product_of_another_service_on_a_meter_is_told_apart(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    product = await shop.sell(
        f"agent-{uuid4().hex[:12]}", {"CREDIT": "1"}, service="agent_execution"
    )
    await shop.record("7", product_id="mcp-call", user_id="ann", organization_id="o-1")
    await shop.record("3", service_type="agent_execution", user_id="ann")
    assert await sums(shop, service_type="agent_execution", user_id="ann") == {
        "agent_execution": "3.00"
    }
    await shop.record("2", product_id=product, user_id="ann")
    for grain in ("day", "month"):
        assert await sums(shop, service_type="agent_execution", grain=grain) == {
            "agent_execution": "3.00", "mcp_service": "2.00",
        }  # fmt: skip
        assert await sums(shop, service_type="mcp_service", grain=grain) == {"mcp_service": "7.00"}
    assert await sums(shop, service_type="notification") == {}
    both = {"agent_execution": "3.00", "mcp_service": "2.00"}
    for grain in ("day", "month"):
        mine = {"service_type": "agent_execution", "user_id": "ann", "grain": grain}
        assert await sums(shop, **mine) == both
    assert await sums(shop, service_type="mcp_service", organization_id="o-1") == {
        "mcp_service": "7.00"
    }
    await shop.record("5", service_type="notification", user_id="ann")
    assert await sums(shop, service_type="notification", user_id="ann") == {"notifications": "5.00"}
    assert (await sums(shop, user_id="ann"))["mcp_service"] == "9.00"


async def test_a_product_is_of_its_own_service_whatever_is_said(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await shop.record("1000", product_id="gpt-4", service_type="notification")
    await shop.batch(
        {"product_id": "gpt-4", "service_type": "mcp_service", "usage_amount": "500"},
        {"product_id": "gpt-4", "usage_amount": "500", "on_insufficient": "defer"},
    )
    revenue = (await shop.get("/stats"))["revenue_by_service"]
    assert revenue == {"model_inference": "4.00"}
    records = (await shop.get("/billing/records"))["data"]
    assert {record["service_type"] for record in records} == {"model_inference"}


async def test_a_level_that_two_services_feed_is_the_highest_reading_of_each(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1000", is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    product = await shop.sell(
        f"disk-{uuid4().hex[:12]}", {"CREDIT": "1"}, "storage_gb", "api_gateway"
    )
    for reading in ("7", "7", "9"):
        await shop.record(reading, service_type="storage_minio", user_id="ann")
    await shop.record("12", product_id=product, user_id="ann")
    for mine in ({"user_id": "ann"}, {}):
        assert await sums(shop, service_type="storage_minio", **mine) == {"storage_gb": "9.00"}
        assert await sums(shop, service_type="api_gateway", **mine) == {"storage_gb": "12.00"}


async def test_a_user_and_an_organisation_are_not_asked_for_at_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    assert "organization_id" in await refused(shop, user_id="ann", organization_id="o-1")


async def counted_by_hour(shop: Shop) -> str:
    key = f"h-{uuid4().hex}"
    spec = MeterSpec(
        name="Hours", unit="use", feature_types=(key,), grains=("hour", "day", "cycle")
    )
    async with shop.api.database.operator() as connection:
        await products.write(connection, MeterChange(key, None, spec), real_now())
    return key


async def test_hours_of_a_user_and_an_organisation_are_summed_too(new_shop: NewShop) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    key = await counted_by_hour(shop)
    await shop.record("2", feature_type=key, user_id="ann", organization_id="o-1")
    await move_clock(shop, hours=2)
    await shop.record("3", feature_type=key, user_id="ann")
    await shop.record("4", feature_type=key, user_id="bob", organization_id="o-1")
    await shop.record("8", feature_type="ai_responses", user_id="ann")

    async def hours(**query: str) -> list[tuple[str, str]]:
        found = (await shop.get("/usage/aggregations", grain="hour", **query))["data"]
        assert {one["meter"] for one in found} <= {key}, "the other meter has no hours"
        return [(one["start"][11:], one["quantity"]) for one in found]

    assert await hours() == [("14:00:00Z", "7.00"), ("12:00:00Z", "2.00")]
    assert await hours(user_id="ann") == [("14:00:00Z", "3.00"), ("12:00:00Z", "2.00")]
    assert await hours(organization_id="o-1") == [("14:00:00Z", "4.00"), ("12:00:00Z", "2.00")]
    assert await hours(user_id="carl") == []
    assert await hours(user_id="ann", service_type="notification") == []
    year = {"start_date": "2026-01-01", "end_date": "2026-12-31"}
    assert "31 days" in await refused(shop, grain="hour", user_id="ann", **year)


async def test_hours_of_a_user_are_those_of_the_account_in_a_zone_of_half_hours(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100", is_test=True, clock_at="2027-01-10T12:00:00Z", zone="Asia/Kolkata")
    key = await counted_by_hour(shop)
    # The 9th begins at 18:30Z of the 8th.
    for amount, at in (("1", "08T18:45"), ("2", "08T19:15"), ("4", "09T18:15"), ("8", "09T18:45")):
        await shop.record(amount, feature_type=key, user_id="ann", occurred_at=f"2027-01-{at}:00Z")
    day = {"grain": "hour", "start_date": "2027-01-09", "end_date": "2027-01-09"}
    for whose in ({}, {"user_id": "ann"}):
        found = (await shop.get("/usage/aggregations", **day, **whose))["data"]
        assert [(one["start"][8:13], one["quantity"]) for one in found] == [
            ("09T18", "12.00"), ("08T19", "2.00"),
        ]  # fmt: skip
