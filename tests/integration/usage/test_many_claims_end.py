"""Claims that end in thousands at once keep nobody waiting, and limit nobody once they are over."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock
from tests.integration.usage.test_claims import CHAT, claim
from tests.integration.usage.test_quota_claims import frozen

USERS, PART = 2_500, 2_000
CLAIMED = text(
    """
    WITH clock AS (
        SELECT clock_at AS now, clock_at - interval '11 minutes' AS then FROM accounts
        WHERE id = :me
    ), quotas AS (
        INSERT INTO billing_quotas (
            id, account_id, owner, meter, window_kind, span_seconds, limit_amount, is_hard,
            alert_percents, window_start, used, created_at, updated_at)
        SELECT uuidv7(), :me, 'u:' || n, 'chat_messages', :kind, :span, 10, true, '{}',
            date_trunc('month', now, 'UTC'), 3, now, now
        FROM clock, generate_series(1, :users) AS n
        RETURNING id
    ), slices AS (
        INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
        SELECT :me, id, quota_slice_end(:span, clock.then), 3 FROM clock, quotas
        WHERE CAST(:span AS integer) IS NOT NULL
    )
    INSERT INTO quota_claims (
        id, account_id, event_id, user_id, meter, amount, claimed_at, expires_at, status)
    SELECT uuidv7(), :me, 'evt-' || n, n, 'chat_messages', 3, clock.then,
        clock.then + interval '10 minutes', 'open'
    FROM clock, generate_series(1, :users) AS n
    """
)
# Claims of nobody in particular, counted on the account's quota of their meter.
ENDED = text(
    """
    WITH clock AS (
        SELECT clock_at AS now, clock_at - interval '11 minutes' AS then FROM accounts
        WHERE id = :me
    ), quotas AS (
        UPDATE billing_quotas SET used = used + :many WHERE account_id = :me AND meter = :meter
        RETURNING id, span_seconds
    ), slices AS (
        INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
        SELECT :me, id, quota_slice_end(span_seconds, clock.then), :many FROM clock, quotas
        WHERE span_seconds IS NOT NULL
    )
    INSERT INTO quota_claims (
        id, account_id, event_id, meter, amount, claimed_at, expires_at, status)
    SELECT uuidv7(), :me, :meter || n, :meter, 1, clock.then,
        clock.now - make_interval(secs => :ago), 'open'
    FROM clock, generate_series(1, :many) AS n
    """
)


async def ended(shop: Shop, meter: str, many: int, ago: int) -> None:
    """So many claims on the meter were over so many seconds ago."""
    values = {"me": shop.id, "meter": meter, "many": many, "ago": ago}
    async with shop.api.database.tenant(shop.id) as connection:
        await connection.execute(ENDED, values)


async def claimed(shop: Shop, kind: str) -> None:
    """Each of the users has a quota of its own, and a claim on it that is over."""
    span = 3600 if kind == "rolling" else None
    values = {"me": shop.id, "kind": kind, "span": span, "users": USERS}
    async with shop.api.database.tenant(shop.id) as connection:
        await connection.execute(CLAIMED, values)


async def standing(shop: Shop) -> list[tuple[str, int]]:
    """Number of the claims by their status."""
    return await shop.rows(
        "SELECT status, count(*) FROM quota_claims WHERE account_id = :id GROUP BY 1 ORDER BY 1"
    )


@pytest.mark.parametrize("kind", ["month", "rolling"])
async def test_claims_of_thousands_of_users_that_end_at_once_are_released_by_the_next_use(
    new_shop: NewShop, kind: str
) -> None:
    shop = await frozen(new_shop)
    await claimed(shop, kind)
    await shop.record("10", user_id=f"{USERS}", **CHAT)
    assert await standing(shop) == [("expired", PART), ("open", USERS - PART)]
    await shop.record("1", status=429, user_id=f"{USERS}", **CHAT)
    assert await standing(shop) == [("expired", USERS)]
    assert await shop.rows(
        "SELECT owner, used::integer FROM billing_quotas WHERE account_id = :id AND used <> 0"
    ) == [(f"u:{USERS}", 10)]


ROLLING: dict[str, Any] = {"window": "rolling", "span_seconds": 3600}


@pytest.mark.parametrize("window", [{}, ROLLING], ids=["month", "rolling"])
async def test_a_claim_that_is_over_and_not_released_yet_takes_nothing_of_a_quota(
    new_shop: NewShop, window: dict[str, Any]
) -> None:
    recording, claiming = [await frozen(new_shop) for _ in range(2)]
    for shop in (recording, claiming):
        await shop.quota("10", **window)
        await ended(shop, "chat_messages", USERS, 60)
    await recording.record("10", **CHAT)
    await recording.record("1", status=429, **CHAT)
    assert await claim(claiming, "10")
    assert not await claim(claiming, "1")
    assert await standing(recording) == [("expired", USERS)]


async def test_the_claims_on_its_own_meter_are_released_first(new_shop: NewShop) -> None:
    recording, claiming = [await frozen(new_shop) for _ in range(2)]
    for shop in (recording, claiming):
        await shop.quota("10")
        await ended(shop, "assessments", USERS, 60)
        await ended(shop, "chat_messages", 10, 30)
    await recording.record("10", **CHAT)
    assert await claim(claiming, "10")
    for shop in (recording, claiming):
        assert await shop.rows(
            "SELECT meter, count(*) FROM quota_claims WHERE account_id = :id"
            " AND status = 'expired' GROUP BY 1 ORDER BY 1"
        ) == [("assessments", PART - 10), ("chat_messages", 10)]


async def test_a_claim_that_is_over_takes_nothing_of_a_blocking_plan(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await ended(shop, "ai_responses", USERS, 60)
    assert await claim(shop, "50", feature_type="ai_responses")
    assert not await claim(shop, "1", feature_type="ai_responses")


async def test_an_event_whose_claim_is_over_and_not_released_yet_is_claimed_for_another_use(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10")
    assert await claim(shop, "3", "e", feature_type="assessments")
    await move_clock(shop, minutes=11)
    await ended(shop, "assessments", USERS, 3600)
    assert await claim(shop, "9", "e")
    assert not await claim(shop, "2"), "the first was counted"
    await shop.record("9", event_id="e", **CHAT)
    assert not await claim(shop, "2")
