"""Each caller dates uses back so far and no further: another day is no way around a quota."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import CHAT, NOW, move_clock

ROLES = ("member", "billing", "service", "admin")


async def record(shop: Shop, role: str, at: datetime, **more: Any) -> httpx2.Response:
    body = CHAT | {"usage_amount": "1", "occurred_at": at.isoformat()} | more
    return await shop.api.client.post(
        f"{V1}/usage/record", json=body, headers=headers_of(shop, role)
    )


async def row_of(shop: Shop, role: str, at: datetime, **more: Any) -> dict[str, Any]:
    body = CHAT | {"usage_amount": "1", "occurred_at": at.isoformat()} | more
    answer = await shop.api.client.post(
        f"{V1}/usage/batch", json={"events": [body]}, headers=headers_of(shop, role)
    )
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["results"]
    return dict(row)


def headers_of(shop: Shop, role: str) -> dict[str, str]:
    if role in ("service", "admin"):
        return shop.api.token("*", [role]) | {"X-Account-Id": shop.account["id"]}
    return shop.headers(role)


def code_of(answer: httpx2.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize("role", ROLES)
async def test_a_member_dates_a_use_back_by_five_minutes_and_others_by_35_days(
    new_shop: NewShop, role: str
) -> None:
    shop = await new_shop()
    now = datetime.now(UTC)
    assert code_of(await record(shop, role, now - timedelta(minutes=4))) == (201, None)
    assert (await row_of(shop, role, now - timedelta(minutes=4)))["status"] == "recorded"
    older = now - timedelta(minutes=6)
    allowed = role != "member"
    alone, row = await record(shop, role, older), await row_of(shop, role, older)
    assert code_of(alone) == ((201, None) if allowed else (422, "EVENT_TOO_OLD"))
    assert row.get("code") == (None if allowed else "EVENT_TOO_OLD")
    if not allowed:
        assert alone.json()["detail"] == row["detail"]
        assert "5 minutes" in row["detail"]
        assert row["retry"] is False


async def test_a_member_gets_past_no_daily_quota_by_another_day(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.quota("1", window="day")
    assert code_of(await record(shop, "member", NOW)) == (201, None)
    assert code_of(await record(shop, "member", NOW)) == (429, "QUOTA_EXCEEDED")
    yesterday = NOW - timedelta(days=1)
    assert code_of(await record(shop, "member", yesterday)) == (422, "EVENT_TOO_OLD")
    tried = await shop.api.client.post(
        f"{V1}/usage/record",
        params={"dry_run": "true"},
        json=CHAT | {"usage_amount": "1", "occurred_at": yesterday.isoformat()},
        headers=shop.headers("member"),
    )
    assert code_of(tried) == (422, "EVENT_TOO_OLD")
    assert code_of(await record(shop, "billing", yesterday)) == (201, None)


async def test_a_members_use_that_was_recorded_in_time_answers_again_later(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    event = str(uuid4())
    first = await record(shop, "member", NOW, event_id=event)
    await move_clock(shop, hours=1)
    again = await record(shop, "member", NOW, event_id=event)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await row_of(shop, "member", NOW, event_id=event))["status"] == "duplicate"
    other = await record(shop, "member", NOW, event_id=str(uuid4()))
    assert code_of(other) == (422, "EVENT_TOO_OLD")


@pytest.mark.parametrize("role", ROLES)
async def test_only_operators_bring_uses_from_before_the_account(
    new_shop: NewShop, role: str
) -> None:
    shop = await new_shop(opened=timedelta(minutes=2))
    before = datetime.now(UTC) - timedelta(minutes=8)
    allowed = role in ("service", "admin")
    alone, row = await record(shop, role, before), await row_of(shop, role, before)
    assert code_of(alone) == ((201, None) if allowed else (422, "EVENT_TOO_OLD"))
    assert row.get("code") == (None if allowed else "EVENT_TOO_OLD")
    assert allowed or "before the account" in row["detail"]
    for since in (timedelta(minutes=1), timedelta(minutes=4)):  # clocks differ by that much
        assert code_of(await record(shop, role, datetime.now(UTC) - since)) == (201, None)


async def test_the_times_of_a_batch_are_looked_at_together_and_again_as_they_are_recorded(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    rows = [
        CHAT | {"usage_amount": "1", "occurred_at": (NOW - timedelta(minutes=since)).isoformat(),
                "event_id": str(uuid4())}
        for since in (1, 10, 20)
    ]  # fmt: skip
    database, begun = shop.api.database, 0
    tenant = database.tenant

    def counted(*accounts: UUID) -> Any:
        nonlocal begun
        begun += 1
        return tenant(*accounts)

    monkeypatch.setattr(database, "tenant", counted)
    answer = await shop.post("/usage/batch", {"events": rows}, "member")
    assert [row.get("code") for row in answer.json()["results"]] == [
        None, "EVENT_TOO_OLD", "EVENT_TOO_OLD",
    ]  # fmt: skip
    assert begun == 2
