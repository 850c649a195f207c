"""Uses as their callers send them: numbers, users instead of accounts, ids of requests."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.routes import usage_sums
from tests.integration.usage.conftest import V1, NewShop, Shop

USE: dict[str, Any] = {"product_id": "gpt-4", "usage_amount": 1000}


async def service(
    shop: Shop, method: str, path: str, body: Any = None, **headers: str
) -> httpx2.Response:
    """A service's request that names no account."""
    caller = shop.api.token("*", ["service"], "sibling") | headers
    return await shop.api.client.request(method, f"{V1}{path}", json=body, headers=caller)


async def test_equal_amounts_are_one_use_however_they_are_spelled(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    event = uuid4().hex
    for amount in ("10", 10, "10.0", 10.0, "010", "10.00"):
        answer = await shop.post("/usage/record", USE | {"usage_amount": amount, "event_id": event})
        assert answer.status_code == 201, answer.text
    for amount in (10, 10.0, "10.0"):
        row = USE | {"usage_amount": amount, "event_id": event}
        assert (await shop.batch(row))["duplicate"] == 1
    other = await shop.post("/usage/record", USE | {"usage_amount": 10.5, "event_id": event})
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await shop.rows("SELECT count(*) FROM billing_records") == [(1,)]


async def test_a_number_keeps_every_digit(new_shop: NewShop) -> None:
    shop = await new_shop()
    digits = "123456789.123456789012"
    body = f'{{"feature_type": "chat_messages", "usage_amount": {digits}}}'
    caller = shop.headers() | {"Content-Type": "application/json"}
    post = shop.api.client.post
    one = await post(f"{V1}/usage/record", content=body, headers=caller)
    many = await post(f"{V1}/usage/batch", content=f'{{"events": [{body}]}}', headers=caller)
    assert (one.status_code, many.json()["recorded"]) == (201, 1), one.text
    found = await shop.rows("SELECT DISTINCT usage_amount::text FROM billing_records")
    assert found == [(digits,)]


async def test_holds_and_quotas_take_numbers_too(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    key = {"Idempotency-Key": uuid4().hex}
    first = await shop.post("/billing/credits/holds", {"amount": 1.5}, **key)
    again = await shop.post("/billing/credits/holds", {"amount": "1.50"}, **key)
    assert (first.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    hold = first.json()["hold_id"]
    assert (await shop.post(f"/billing/credits/holds/{hold}/capture", {"amount": 1})).is_success
    assert (await shop.quota(5))["limit"] == "5.00"  # type: ignore[arg-type]
    asked = {"feature_type": "chat_messages", "requested_amount": 6}
    assert not (await shop.post("/quota/check", asked)).json()["allowed"]


async def test_a_service_names_the_account_by_its_user(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    name = shop.account["external_id"]
    body = USE | {"user_id": name}
    done = await service(shop, "POST", "/usage/record", body)
    assert (done.status_code, done.json()["total_cost"]) == (201, "2.00")
    rows = {"events": [body, USE | {"user_id": "nobody-yet"}, USE]}
    verdicts = (await service(shop, "POST", "/usage/batch", rows)).json()["results"]
    assert [row.get("code") for row in verdicts] == [None, "MERCHANT_NOT_FOUND", "ACCOUNT_REQUIRED"]
    (record, _) = (await service(shop, "GET", f"/billing/records/user/{name}")).json()["data"]
    assert record["user_id"] == name
    asked = {"billing_id": record["billing_id"]}
    assert (await service(shop, "POST", "/billing/process", asked)).json()["total_amount"] == "2.00"
    missing = await service(shop, "POST", "/usage/record", USE)
    assert missing.json()["code"] == "ACCOUNT_REQUIRED"
    stranger = await service(shop, "POST", "/usage/record", USE | {"user_id": "nobody-yet"})
    assert stranger.json()["code"] == "MERCHANT_NOT_FOUND"


async def test_uses_of_one_request_are_each_a_use_of_its_own(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    body = USE | {"request_id": "req-1"}
    first, again = [await shop.post("/usage/record", body) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in again.headers
    assert first.json()["billing_id"] != again.json()["billing_id"]
    assert (await shop.batch(body, body))["recorded"] == 2
    assert (await shop.post("/usage/record", body | {"usage_amount": 5})).status_code == 201
    assert (await shop.post("/usage/record", body | {"event_id": "req-1"})).status_code == 201
    assert len((await shop.get("/billing/records"))["data"]) == 6
    assert {row["request_id"] for row in (await shop.get("/billing/records"))["data"]} == {"req-1"}


async def test_the_model_of_the_details_counts(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await shop.record(usage_details={"model": "gpt-4", "tokens": 1000})
    await shop.record(usage_details={"model": {"odd": 1}})
    (counted,) = (await shop.get("/usage/summary"))["by_model"]
    assert (counted["name"], counted["events"]) == ("gpt-4", 1)


async def test_an_operator_reads_the_statistics_of_all_accounts_while_they_are_few(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tester = await new_shop("100"), await new_shop("100", is_test=True)
    day = "start_date=2026-01-01&end_date=2026-01-02"
    before = (await service(real, "GET", "/stats")).json()
    await real.record(user_id=uuid4().hex)
    await tester.record(user_id=uuid4().hex)
    after = (await service(real, "GET", "/stats")).json()
    assert after["total_billing_records"] >= before["total_billing_records"] + 1
    assert after["active_users"] >= before["active_users"] + 1
    assert (await service(real, "GET", f"/stats?{day}")).json()["total_revenue"] == "0"
    empty = await service(real, "GET", "/stats", **{"X-Account-Id": ""})
    assert (empty.status_code, empty.json()["code"]) == (400, "ACCOUNT_REQUIRED")
    monkeypatch.setattr(usage_sums, "MOST_ACCOUNTS", 0)
    many = await service(real, "GET", "/stats")
    assert (many.status_code, many.json()["code"]) == (409, "TOO_MANY_ACCOUNTS")


@pytest.mark.parametrize(
    "path", ["/usage/summary", "/usage/limits", "/usage/logs", "/usage/aggregations", "/stats"]
)
async def test_an_account_that_is_not_there_yet_has_used_nothing(
    new_shop: NewShop, path: str
) -> None:
    shop = await new_shop()
    caller = shop.api.token(f"not-yet-{uuid4().hex}", ["member"])
    answer = await shop.api.client.get(f"{V1}{path}", headers=caller)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown.get("data", shown.get("by_meter", [])) == []


async def test_a_user_with_a_slash_has_records(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await shop.record(user_id="team/ann")
    for name in ("team/ann", "team%2Fann"):
        (record,) = (await shop.get(f"/billing/records/user/{name}"))["data"]
        assert record["user_id"] == "team/ann"


async def test_lists_name_their_filters_alike(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await shop.record()
    for path in ("/usage/logs", "/billing/records"):
        assert (await shop.get(path, start_date="2030-01-01"))["data"] == []
        assert len((await shop.get(path, start_date="2020-01-01", status=""))["data"]) == 1
        assert len((await shop.get(path, end_date="2040-01-01T00:00:00Z"))["data"]) == 1
        one_day = {"start_date": "2030-01-01", "end_date": "2030-01-01"}
        assert (await shop.get(path, **one_day))["data"] == []
        for wrong in (
            "start=2030-01-01", "colour=red", "status=done", "start_date=yesterday",
            "start_date=2030-01-02&end_date=2030-01-01",
            "start_date=2030-01-02T00:00:01Z&end_date=2030-01-02T00:00:00Z",
        ):  # fmt: skip
            answer = await shop.api.client.get(f"{V1}{path}?{wrong}", headers=shop.headers())
            assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    for wrong in ("1764547200", "20270101", "yesterday"):
        sums = f"{V1}/usage/summary?start_date={wrong}"
        assert (await shop.api.client.get(sums, headers=shop.headers())).status_code == 422
    purchases = f"{V1}/billing/purchases?status=done"
    answer = await shop.api.client.get(purchases, headers=shop.headers())
    assert answer.status_code == 422


async def test_platform_headers_must_name_the_shop_of_the_account_that_a_user_is(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10", platform="shopify", platform_domain=f"{uuid4()}.example")
    body = USE | {"user_id": shop.account["external_id"]}
    refused = await service(shop, "POST", "/usage/record", body, **{"X-Platform": "etsy"})
    assert (refused.status_code, refused.json()["code"]) == (403, "PLATFORM_MISMATCH")
    done = await service(shop, "POST", "/usage/record", body, **{"X-Platform": "shopify"})
    assert done.status_code == 201, done.text
