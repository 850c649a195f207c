"""A quota that each user of an account has by default, with a window of its own."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import column

from api.answers.pagination import encode_cursor
from billing.metering.quotas import service
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW, move_clock
from tests.integration.usage.test_claims import CHAT, claim
from tests.integration.usage.test_quota_times import frozen, use
from tests.integration.usage.test_voids import void

ANN: dict[str, Any] = {"user_id": "ann"}
BOB: dict[str, Any] = {"user_id": "bob"}


async def of(shop: Shop, user: str) -> list[tuple[str, str, str]]:
    """(used, limit, owner) of the quotas that hold for a user."""
    shown = await shop.limits(user_id=user)
    return [(one["used"], one["limit"], one["owner"]) for one in shown if one["source"] == "quota"]


async def given(shop: Shop) -> dict[str, int]:
    rows = await shop.rows(
        "SELECT owner, used::integer FROM billing_quotas WHERE account_id = :id AND is_derived"
    )
    return dict(rows)


async def test_each_user_has_a_window_of_its_own(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", each_user=True)
    assert (await use(shop, "8", **ANN)).status_code == 201
    assert (await use(shop, "3", **ANN)).json()["code"] == "QUOTA_EXCEEDED"
    assert (await use(shop, "10", **BOB)).status_code == 201
    assert (await use(shop, "1", **BOB)).status_code == 429
    assert (await use(shop, "1000")).status_code == 201, "of no user"
    assert await given(shop) == {"u:ann": 8, "u:bob": 10}


async def test_it_counts_the_uses_of_before(new_shop: NewShop) -> None:
    shop = await new_shop()
    await use(shop, "8", **ANN)
    await shop.quota("10", each_user=True)
    assert await of(shop, "ann") == [("8.00", "10.00", "user")]
    assert (await use(shop, "3", **ANN)).status_code == 429
    assert (await use(shop, "2", **ANN)).status_code == 201


async def test_a_check_tells_it_before_the_first_use(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", each_user=True)
    body = CHAT | ANN | {"requested_amount": "11"}
    told = (await shop.post("/quota/check", body)).json()
    assert (told["allowed"], told["limit"], told["used"]) == (False, "10.00", "0")
    assert told["refused_by"] == "quota"
    assert not await given(shop), "a check writes nothing"


async def test_claims_count_on_it(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("1000")
    await shop.quota("10", each_user=True)
    for number in range(3):
        assert await claim(shop, "3", f"job-{number}", **(CHAT | ANN))
    assert not await claim(shop, "3", "job-3", **(CHAT | ANN))
    assert await claim(shop, "3", "other", **(CHAT | BOB))
    assert (await use(shop, "3", event_id="job-0", **ANN)).status_code == 201
    assert await given(shop) == {"u:ann": 9, "u:bob": 3}


async def test_a_quota_set_by_name_goes_before_it(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", each_user=True)
    await use(shop, "10", **ANN)
    named = await shop.quota("20", **ANN)
    assert await of(shop, "ann") == [("10.00", "20.00", "user")]
    assert (await use(shop, "10", **ANN)).status_code == 201
    gone = await shop.api.client.delete(
        f"/api/v1/admin/quotas/{named['quota_id']}", headers=shop.api.admin()
    )
    assert gone.status_code == 200
    assert await of(shop, "ann") == [("20.00", "10.00", "user")]
    assert (await use(shop, "1", **ANN)).status_code == 429


async def test_another_limit_holds_for_all_and_none_sets_them_free(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", each_user=True)
    for who in (ANN, BOB):
        await use(shop, "10", **who)
    await shop.quota("12", each_user=True)
    assert (await use(shop, "2", **ANN)).status_code == 201
    assert (await use(shop, "1", **ANN)).status_code == 429
    of_each = await shop.quota("5", each_user=True)
    assert (await use(shop, "1", **BOB)).status_code == 429
    gone = await shop.api.client.delete(
        f"/api/v1/admin/quotas/{of_each['quota_id']}", headers=shop.api.admin()
    )
    assert gone.json()["owner"] == "each_user"
    assert not await given(shop)
    assert (await use(shop, "100", **BOB)).status_code == 201


async def alerts(shop: Shop) -> list[tuple[Any, ...]]:
    return await shop.rows(
        "SELECT owner, threshold, limit_amount::integer, used_amount::integer FROM usage_alerts"
        " WHERE account_id = :id ORDER BY id"
    )


@pytest.mark.parametrize("window", [{}, {"window": "rolling", "span_seconds": 3600}])
async def test_a_lower_limit_tells_whoever_is_past_it(
    new_shop: NewShop, window: dict[str, Any]
) -> None:
    shop = await frozen(new_shop)
    soft = window | {"hard": False, "each_user": True}
    await shop.quota("20", **soft)
    await use(shop, "9", **ANN)
    await use(shop, "7", **BOB)
    await shop.quota("10", **soft)
    assert await alerts(shop) == [("u:ann", 80, 10, 9)]
    await shop.quota("9", **soft)
    assert await alerts(shop) == [("u:ann", 80, 10, 9), ("u:ann", 100, 9, 9)], "once each"


async def test_a_lower_limit_tells_nobody_of_an_earlier_window(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    windows: list[dict[str, Any]] = [
        {"window": "day"}, {"window": "rolling", "span_seconds": 3600},
    ]  # fmt: skip
    for one in windows:
        await shop.quota("20", each_user=True, **one)
    await use(shop, "9", **ANN)
    await move_clock(shop, days=1)
    for one in windows:
        await shop.quota("10", each_user=True, **one)
    assert await alerts(shop) == []


async def test_the_default_that_a_user_falls_back_to_tells_what_it_has_reached(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", each_user=True, window="day")
    path = "/api/v1/admin/quotas/"
    for days in (0, 1):
        named = await shop.quota("50", window="day", **ANN)
        await use(shop, "9", **ANN)
        await move_clock(shop, days=days)
        gone = await shop.api.client.delete(path + named["quota_id"], headers=shop.api.admin())
        assert gone.status_code == 200
        assert await alerts(shop) == [("u:ann", 80, 10, 9)], "of its own window alone"


async def test_lists_show_what_was_set(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", each_user=True)
    await use(shop, "1", **ANN)
    shown = await shop.api.client.get(
        "/api/v1/admin/quotas",
        params={"account_id": shop.account["id"]},
        headers=shop.api.admin(),
    )
    assert [(one["owner"], one["owner_id"]) for one in shown.json()["data"]] == [
        ("each_user", None)
    ]
    [one] = [one for one in await shop.limits() if one["source"] == "quota"]
    assert one["owner"] == "each_user"


async def test_a_new_day_begins_anew_for_each(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="day", each_user=True)
    for who in (ANN, BOB):
        await use(shop, "10", **who)
        assert (await use(shop, "1", **who)).status_code == 429
    await move_clock(shop, days=1)
    assert (await use(shop, "10", **ANN)).status_code == 201
    assert await of(shop, "bob") == [("0", "10.00", "user")]
    yesterday = NOW - timedelta(hours=1)
    assert (await use(shop, "1", yesterday, **BOB)).status_code == 429, "of its own day"


async def test_a_rolling_one_frees_each_use_in_time(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="rolling", span_seconds=3600, each_user=True)
    assert (await use(shop, "10", **ANN)).status_code == 201
    assert (await use(shop, "10", **BOB)).status_code == 201
    refused = await use(shop, "1", **ANN)
    await move_clock(shop, seconds=int(refused.headers["Retry-After"]))
    assert (await use(shop, "10", **ANN)).status_code == 201
    await shop.quota("10", window="rolling", span_seconds=7200, each_user=True)
    assert not await given(shop), "of another span it begins anew"
    assert (await use(shop, "10", **ANN)).status_code == 201


async def test_a_void_gives_back_to_its_user(new_shop: NewShop) -> None:
    shop = await new_shop()
    made = await use(shop, "6", **ANN)
    await use(shop, "2", **ANN)
    await shop.quota("10", each_user=True)
    await void(shop, made.json())
    assert await given(shop) == {"u:ann": 2}, "counted once, though it is given by the void itself"
    assert (await use(shop, "9", **ANN)).status_code == 429
    assert (await use(shop, "8", **ANN)).status_code == 201


async def test_a_batch_of_many_users_gives_each_its_own(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("3", each_user=True)
    rows = [CHAT | {"usage_amount": "2", "user_id": f"user-{n % 40}"} for n in range(80)]
    done = await shop.batch(*rows)
    assert [row["status"] for row in done["results"]] == ["recorded"] * 40 + ["rejected"] * 40
    again = [CHAT | {"usage_amount": "1", "user_id": f"user-{n}"} for n in range(40)]
    assert {row["status"] for row in (await shop.batch(*again))["results"]} == {"recorded"}
    assert set((await given(shop)).values()) == {3}


async def test_a_use_touches_the_quotas_of_its_own_user_alone(new_shop: NewShop) -> None:
    """However many users have one."""
    shop = await frozen(new_shop)
    await shop.quota("100", window="day", each_user=True)
    await shop.batch(*(CHAT | {"usage_amount": "1", "user_id": f"user-{n}"} for n in range(50)))
    await move_clock(shop, days=1)
    before = await shop.rows("SELECT owner, xmin FROM billing_quotas WHERE account_id = :id")
    await use(shop, "1", user_id="user-7")
    after = await shop.rows("SELECT owner, xmin FROM billing_quotas WHERE account_id = :id")
    assert {owner for owner, _ in set(after) - set(before)} == {"u:user-7"}


async def test_a_rolling_one_takes_over_what_a_quota_by_name_has_in_sight(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    span: dict[str, Any] = {"window": "rolling", "span_seconds": 3600}
    await shop.quota("10", each_user=True, **span)
    named = await shop.quota("20", **span, **ANN)
    assert (await use(shop, "18", **ANN)).status_code == 201
    await shop.api.client.delete(
        f"/api/v1/admin/quotas/{named['quota_id']}", headers=shop.api.admin()
    )
    assert await of(shop, "ann") == [("18.00", "10.00", "user")]
    assert (await use(shop, "1", **ANN)).status_code == 429


async def test_a_check_before_the_first_use_sees_what_is_claimed(new_shop: NewShop) -> None:
    shop = await new_shop()
    assert await claim(shop, "8", "job", **(CHAT | ANN))
    await shop.quota("10", each_user=True)
    told = (await shop.post("/quota/check", CHAT | ANN | {"requested_amount": "3"})).json()
    assert (told["allowed"], told["used"]) == (False, "8.00")


@pytest.mark.parametrize("window", [{"window": "day"}, {"window": "rolling", "span_seconds": 3600}])
async def test_what_is_shown_before_the_first_use_omits_claims_that_are_over(
    new_shop: NewShop, window: dict[str, Any]
) -> None:
    shop = await frozen(new_shop)
    assert await claim(shop, "3", "over", **(CHAT | ANN))
    await move_clock(shop, minutes=6)
    assert await claim(shop, "5", "open", **(CHAT | ANN))
    await shop.quota("10", each_user=True, **window)
    await move_clock(shop, minutes=6)
    assert await of(shop, "ann") == [("5.00", "10.00", "user")]
    assert not await given(shop)


async def test_a_cursor_may_have_any_place(new_shop: NewShop) -> None:
    shop = await new_shop()
    after: dict[Any, Any] = {
        column("place"): 2**40,
        column("created_at"): NOW,
        column("id"): UUID(int=1),
    }
    cursor = encode_cursor(after, list(after))
    assert (await shop.get("/usage/limits", cursor=cursor))["data"] == await shop.limits()


async def test_limits_are_pages_the_plan_s_first(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.quota("9", each_user=True, window="day")
    await use(shop, "3", organization_id="o-1", **ANN)
    for limit in ("5", "6"):
        await shop.quota(limit, organization_id=f"o-{limit}")
    await shop.quota("7", organization_id="o-1")
    await shop.quota("8", **BOB)
    plan = sorted(one["meter"] for one in await shop.limits() if one["source"] == "plan")
    named = [("8.00", "0"), ("7.00", "3.00"), ("6.00", "0"), ("5.00", "0")]
    for query, quotas in (
        ({}, [*named, ("9.00", "0")]), (ANN, [("9.00", "3.00"), *named[1:]]),
    ):  # fmt: skip
        pages = [await shop.get("/usage/limits", limit=2, **query)]
        while cursor := pages[-1]["pagination"]["next_cursor"]:
            pages.append(await shop.get("/usage/limits", limit=2, cursor=cursor, **query))
        rows = [row for page in pages for row in page["data"]]
        assert [row["meter"] for row in rows[: len(plan)]] == plan
        assert [(row["limit"], row["used"]) for row in rows[len(plan) :]] == quotas
        assert {page["pagination"]["total"] for page in pages} == {len(rows)}
        last = await shop.get("/usage/limits", limit=len(plan) + 1, page=2, **query)
        assert last["data"] == rows[len(plan) + 1 :]


async def test_a_quota_that_is_deleted_while_limits_are_read_is_left_out(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await new_shop()
    first, _ = [await shop.quota(limit, organization_id=f"o-{limit}") for limit in ("5", "6")]
    real = service.standing

    async def standing(*asked: Any) -> Any:
        path = f"{V1}/admin/quotas/{first['quota_id']}"
        await shop.api.client.delete(path, headers=shop.api.admin())
        return await real(*asked)

    monkeypatch.setattr(service, "standing", standing)
    shown = [one["limit"] for one in await shop.limits() if one["source"] == "quota"]
    assert shown == ["6.00"]
