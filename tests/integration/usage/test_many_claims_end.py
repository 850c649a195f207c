"""Claims of thousands of users that end at once keep nobody waiting."""

import pytest
from sqlalchemy import text

from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.test_claims import CHAT
from tests.integration.usage.test_quota_claims import frozen

USERS, PART = 6_000, 5_000
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
