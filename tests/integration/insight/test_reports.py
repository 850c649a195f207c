"""Reports of usage over HTTP: right sums, exact texts, any length, nobody else's rows [Q8]."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import account_turns
from billing.core import periods
from billing.insight.reports import store
from tests.integration.api_app import ACCOUNTS
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock

NOW = datetime(2027, 3, 1, 1, tzinfo=UTC)


async def sheet(shop: Shop, **query: Any) -> list[dict[str, str]]:
    answer = await shop.api.client.get(f"{V1}/usage/reports", params=query, headers=shop.headers())
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_each_grouping_tells_the_same_story(new_shop: NewShop) -> None:
    # In New York it is still 28 February, 20:00.
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat(), zone="America/New_York")
    await shop.record("1000", user_id="ann", organization_id="o-1", operation="chat", model="4")
    await shop.record("500", user_id='=cmd|"x"', operation="-summary")
    yesterday = (NOW - timedelta(days=1)).isoformat()
    await shop.record("2", product_id="mcp-call", occurred_at=yesterday)

    assert await sheet(shop) == [
        {"day": "2027-02-27", "meter": "mcp_service", "quantity": "2.00", "events": "1",
         "credits": "0.10", "overage": "0", "overage_cost": "0"},
        {"day": "2027-02-28", "meter": "model_inference", "quantity": "1500.00", "events": "2",
         "credits": "3.00", "overage": "0", "overage_cost": "0"},
    ]  # fmt: skip
    users = await sheet(shop, group_by="user")
    assert [(row["user"], row["credits"]) for row in users] == [
        ("", "0.10"), ("'=cmd|\"x\"", "1.00"), ("ann", "2.00"),
    ]  # fmt: skip
    assert [row["operation"] for row in await sheet(shop, group_by="operation")] == [
        "", "'-summary", "chat",
    ]  # fmt: skip
    models = await sheet(shop, group_by="model")
    assert [(row["model"], row["meter"], row["events"]) for row in models] == [
        ("", "mcp_service", "1"), ("", "model_inference", "1"), ("4", "model_inference", "1"),
    ]  # fmt: skip
    meters = await sheet(shop, group_by="meter", start_date="2027-02-28", end_date="2027-02-28")
    assert [(row["meter"], row["quantity"]) for row in meters] == [("model_inference", "1500.00")]

    records = await sheet(shop, group_by="record")
    assert [(row["occurred_at"], row["user_id"], row["total_amount"]) for row in records] == [
        ("2027-02-28T01:00:00Z", "", "0.10"),
        ("2027-03-01T01:00:00Z", records[1]["user_id"], records[1]["total_amount"]),
        ("2027-03-01T01:00:00Z", records[2]["user_id"], records[2]["total_amount"]),
    ]  # fmt: skip
    assert {row["user_id"] for row in records} == {"", "ann", '\'=cmd|"x"'}
    known = await shop.get(f"/billing/records/{records[0]['billing_id']}")
    assert known["product_id"] == "mcp-call"

    body = await shop.get("/usage/reports", format="json", group_by="user")
    assert (body["start"], body["end"], body["as_of"]) == (
        "2027-01-30", "2027-02-28", "2027-03-01T01:00:00Z",
    )  # fmt: skip
    assert [row["user"] for row in body["data"]] == ["", '=cmd|"x"', "ann"]
    assert body["data"][2] == {
        "user": "ann", "meter": "model_inference", "quantity": "1000.00", "events": 1,
        "credits": "2.00", "overage": "0", "overage_cost": "0",
    }  # fmt: skip


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
async def test_a_day_that_was_counted_in_an_earlier_zone_stays_that_day(
    new_shop: NewShop, zone: str
) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    at = datetime(2027, 2, 20, 8, tzinfo=UTC).isoformat()
    await shop.record("7", user_id="ann", occurred_at=at)
    moved = {"external_id": shop.account["external_id"], "zone": zone}
    answer = await shop.api.client.post(ACCOUNTS, json=moved, headers=shop.api.admin())
    assert answer.is_success, answer.text

    day = {"start_date": "2027-02-20", "end_date": "2027-02-20"}
    for span in (day, day | {"end_date": "2027-02-28"}):
        assert [(row["day"], row["quantity"]) for row in await sheet(shop, **span)] == [
            ("2027-02-20", "7.00")
        ]
        assert len(await sheet(shop, group_by="record", **span)) == 1
        for grouping in ("meter", "user"):
            (row,) = await sheet(shop, group_by=grouping, **span)
            assert row["quantity"] == "7.00"
        assert (await shop.get("/usage/summary", **span))["total_events"] == 1
        assert (await shop.get("/stats", **span))["total_billing_records"] == 1
        (month,) = (await shop.get("/usage/aggregations", grain="month", **span))["data"]
        first = periods.month_of(datetime.fromisoformat(at), zone)[0]
        assert datetime.fromisoformat(month["start"]) == first
    assert await sheet(shop, start_date="2027-02-19", end_date="2027-02-19") == []
    await move_clock(shop, hours=36)
    assert (await shop.get("/usage/forecast"))["history_days"] == 9, "21 February to 1 March"


@pytest.mark.parametrize("group_by", ["record", "user", "organization", "day", "meter", "model"])
async def test_pages_leave_nothing_out_and_tell_nothing_twice(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch, group_by: str
) -> None:
    shop, other = await new_shop("100"), await new_shop("100")
    rows = [
        {"usage_amount": "1", "model": f"m{n % 3}"}
        | ({"user_id": f"u{n % 5}"} if n < 8 else {"organization_id": f"o{n % 2}"})
        | ({"product_id": "gpt-4"} if n % 2 else {"feature_type": "impressions"})
        for n in range(11)
    ]
    await shop.batch(*rows)
    await other.batch(*rows)
    whole = await sheet(shop, group_by=group_by)
    monkeypatch.setattr(store, "PAGE", 2)
    assert await sheet(shop, group_by=group_by) == whole
    counted = len(whole) if group_by == "record" else sum(int(row["events"]) for row in whole)
    assert counted == 11


async def test_many_reports_of_one_account_keep_no_other_waiting(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, other, go = await new_shop("100"), await new_shop("100"), asyncio.Event()
    page, begun = store.page, list[store.ReportQuery]()

    async def slow(connection: Any, report: store.ReportQuery, after: Any) -> Any:
        begun.append(report)
        if len(begun) == 1:
            await go.wait()
        return await page(connection, report, after)

    async def asked(shop: Shop) -> Any:
        return await shop.api.client.get(f"{V1}/usage/reports", headers=shop.headers())

    monkeypatch.setattr(store, "page", slow)
    async with asyncio.timeout(10):
        many = [asyncio.create_task(asked(greedy)) for _ in range(account_turns.OF_ONE + 2)]
        over, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        assert {one.result().status_code for one in over} == {429}
        assert {one.result().headers["Retry-After"] for one in over} == {"2"}
        assert (await asked(other)).status_code == 200
        assert len(begun) == 2, "the first page of the greedy one, and that of the other"
        go.set()
        statuses = [(await one).status_code for one in many]
    assert sorted(statuses) == [200] * account_turns.OF_ONE + [429] * 2
    assert await sheet(greedy) == []


async def test_a_report_whose_reader_left_is_no_longer_under_way(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await shop.record("1")

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def left() -> dict[str, str]:
        return {"type": "http.disconnect"}

    path = f"{V1}/usage/reports"
    sent = {"host": "api"} | shop.headers()
    scope = {
        "type": "http", "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": b"", "asgi": {"spec_version": "2.3"},
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
    }  # fmt: skip
    async with asyncio.timeout(10):
        for _ in range(account_turns.OF_ONE + 1):
            await shop.api.app(dict(scope), left, stuck)
    assert len(await sheet(shop)) == 1


async def test_nothing_used_is_a_report_too(new_shop: NewShop) -> None:
    shop = await new_shop()
    assert await sheet(shop) == []
    assert (await shop.get("/usage/reports", format="json"))["data"] == []
    headers = shop.headers()
    backwards = "start_date=2027-02-02&end_date=2027-02-01"
    for query in (backwards, "start=2027-02-02", "format=xlsx", "group_by=colour"):
        answer = await shop.api.client.get(f"{V1}/usage/reports?{query}", headers=headers)
        assert answer.status_code == 422
    answer = await shop.api.client.get(
        f"{V1}/usage/reports?start_date=2027-02-02&end_date=2027-02-01", headers=headers
    )
    assert (
        answer.json()["detail"]
        == "end_date: must be less than 400 days after start_date, and not before it"
    )
