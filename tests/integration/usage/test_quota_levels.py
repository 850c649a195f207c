"""Quotas on a level, such as storage: what counts is the rise of the account within its cycle."""

from typing import Any

import pytest

from billing.insight.integrity import service as integrity
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW, on_plan
from tests.integration.usage.test_agreed_limits import agree

STORAGE: dict[str, Any] = {"service_type": "storage_minio"}
LEVEL: dict[str, Any] = {"feature_type": "storage_gb"}


async def put(shop: Shop, **fields: Any) -> tuple[int, Any]:
    body = {"account_id": shop.account["id"], "limit": "10"} | fields
    answer = await shop.api.client.put(f"{V1}/admin/quotas", json=body, headers=shop.api.admin())
    return answer.status_code, answer.json()


@pytest.mark.parametrize("named", [STORAGE, LEVEL])
async def test_a_quota_on_a_level_is_the_account_s_per_cycle(
    new_shop: NewShop, named: dict[str, Any]
) -> None:
    shop = await new_shop()
    others: list[dict[str, Any]] = [
        {"window": "day"}, {"window": "month"}, {"window": "rolling", "span_seconds": 3600},
        {"user_id": "ann"}, {"organization_id": "team", "window": "cycle"},
    ]  # fmt: skip
    for fields in others:
        status, problem = await put(shop, **named, **fields)
        assert (status, problem["code"]) == (422, "INVALID_QUOTA"), fields
        assert problem["detail"] == (
            "storage_gb is a level: its quota must be for the whole account, with the window cycle"
        )
    for fields in ({}, {"window": "cycle"}):
        status, quota = await put(shop, **named, **fields)
        assert (status, quota["window"]) == (200, "cycle")
    status, quota = await put(shop, feature_type="chat_messages", user_id="ann")
    assert (status, quota["window"]) == (200, "month")


async def test_a_level_that_does_not_rise_is_refused_by_no_quota(new_shop: NewShop) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.quota("10", **STORAGE)
    await shop.record("7", **STORAGE)
    claim = {"requested_amount": "8", "consume": True, "event_id": "claimed"} | STORAGE
    assert (await shop.post("/quota/check", claim)).json()["allowed"]
    await shop.quota("5", **STORAGE)
    await shop.record("7", **STORAGE)
    await shop.record("3", **STORAGE)
    await shop.record("8", status=429, **STORAGE)
    await shop.record("8", event_id="claimed", **STORAGE)
    asked = await shop.post("/quota/check", {"requested_amount": "8"} | STORAGE)
    assert (asked.json()["allowed"], asked.json()["requested"]) == (True, "0")
    await shop.record("8", **STORAGE)
    await shop.record("9", status=429, **STORAGE)


async def test_a_level_may_be_nothing_and_other_use_may_not(new_shop: NewShop) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("7", **STORAGE)
    gone = await shop.record("0", **STORAGE)
    assert (gone["total_cost"], await last(shop)) == ("0", "0")
    rows = [{"usage_amount": amount, **LEVEL} for amount in (0, "3", "0.000")]
    assert (await shop.batch(*rows))["recorded"] == 3
    assert await last(shop) == "0"
    for other in ({"product_id": "gpt-4"}, {"feature_type": "ai_responses"}):
        refused = await shop.post("/usage/record", {"usage_amount": "0"} | other)
        assert (refused.status_code, refused.json()["code"]) == (422, "VALIDATION_FAILED")
        assert "only a level" in refused.json()["detail"]
    wrong = (await integrity.examine(shop.api.database, shop.id)).wrong
    assert not [found.name for found in wrong if found.name.startswith("usage_")]


async def last(shop: Shop) -> Any:
    return (await shop.get("/usage/current"))["meters"]["storage_gb"]["last_value"]


async def test_a_level_above_its_limit_passes_in_no_cycle(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.record("0.9", **STORAGE)
    asked = await shop.post("/quota/check", {"requested_amount": "1.3"} | STORAGE)
    assert (asked.json()["allowed"], asked.json()["passes_at"]) == (False, None)
    refused = await shop.post("/usage/record", {"usage_amount": "1.3"} | STORAGE)
    assert (refused.status_code, refused.headers.get("Retry-After")) == (429, None)


@pytest.mark.parametrize("then", ["block", "overage"])
async def test_what_credits_paid_of_a_level_takes_nothing_of_what_is_included_later(
    new_shop: NewShop, then: str
) -> None:
    shop = await on_plan(new_shop, "basic", "100")
    paid = await shop.record("30", product_id="storage", billing_method="wallet_deduction")
    assert paid["total_cost"] == "40.00", "10 GB are included"
    prices = {"prices": {"USD": "0.25"}} if then == "overage" else {}
    await agree(shop, "storage_gb", included="60", then=then, **prices)
    limit = next(row for row in await shop.limits() if row["meter"] == "storage_gb")
    assert (limit["used"], limit["remaining"]) == ("10.00", "50.00")
    ask: dict[str, Any] = {"requested_amount": "80"} | LEVEL
    assert (await shop.post("/quota/check", ask)).json()["allowed"]
    claim = ask | {"consume": True, "event_id": "eighty"}
    assert (await shop.post("/quota/check", claim)).json()["allowed"]
    assert (await shop.record("80", event_id="eighty", **LEVEL))["total_cost"] == "0"
    if then == "block":
        assert not (await shop.post("/quota/check", ask | {"requested_amount": "81"})).json()[
            "allowed"
        ]
        await shop.record("81", status=429, **LEVEL)
    else:
        body = {"product_id": "storage", "usage_amount": "90"}
        told = (await shop.post("/billing/calculate", body)).json()
        assert told["total_cost"] == (await shop.record("90", **LEVEL))["total_cost"] == "2.50"
    wrong = (await integrity.examine(shop.api.database, shop.id)).wrong
    assert not [found.name for found in wrong if found.name.startswith("usage_")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": "rolling", "span_seconds": "60"}, {"window": "rolling", "span_seconds": 60.0},
        {"alert_percents": ["80"]}, {"alert_percents": [80.0]}, {"alert_percents": [50] * 11},
    ],
)  # fmt: skip
async def test_whole_numbers_of_a_quota_are_numbers_and_its_alerts_few(
    new_shop: NewShop, wrong: dict[str, Any]
) -> None:
    status, problem = await put(await new_shop(), feature_type="chat_messages", **wrong)
    assert (status, problem["code"]) == (422, "VALIDATION_FAILED")
