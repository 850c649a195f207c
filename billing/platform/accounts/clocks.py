"""The frozen clock of a test account: its time, its target, and the progress towards it.

A clock moves only forward, and only for test accounts, from one due instant to the next.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, periods
from billing.core.clock import now_by
from billing.core.errors import Conflict, Invalid, wrong_field
from billing.platform.accounts import store
from billing.platform.accounts.schemas import Account
from billing.platform.audit import service as audit
from billing.platform.audit import store as audit_store

AIMED: Final = "clock.aimed"
_BLOCKED: Final = text(
    "SELECT public_id('acc', id) AS account, clock_blocked AS why FROM accounts"
    " WHERE clock_status = 'blocked' ORDER BY id DESC LIMIT :most"
)


async def aim(
    connection: AsyncConnection, account_id: UUID, to: datetime | timedelta, request_id: UUID
) -> Account:
    """Set the clock's target, once per request; a timedelta is added to its current target or time.

    A test account in real time is frozen first. Errors: CLOCK_NEEDS_TEST_ACCOUNT, CLOCK_BACKWARDS;
    VALIDATION_FAILED beyond the calendar.
    """
    account = await store.lock(connection, account_id)
    subject, request = ids.encode(ids.ACCOUNT, account_id), ids.encode(ids.REQUEST, request_id)
    if await audit_store.has(connection, account_id, subject, AIMED, request):
        return account
    if not account.is_test:
        raise Conflict("CLOCK_NEEDS_TEST_ACCOUNT")
    clock_at = now_by(account.clock_at)
    farthest = max(clock_at, account.clock_target or clock_at)
    target = farthest + to if isinstance(to, timedelta) else to
    if not periods.within_calendar(target):
        raise wrong_field("advance_days", f"the target {periods.BEYOND_CALENDAR}")
    if target < farthest:
        where = "is moving to" if account.clock_target else "stands at"
        raise Invalid(
            "CLOCK_BACKWARDS",
            f"a clock can only move forward, and this one {where} {farthest:%Y-%m-%dT%H:%M:%SZ}",
        )
    await audit.record(
        connection,
        account_id=account_id,
        action=AIMED,
        subject=subject,
        at=clock_at,
        target=target.isoformat(),
        request=request,
    )
    walk = {"clock_at": clock_at, "clock_target": target, "clock_status": "advancing"}
    return await store.change(connection, account_id, walk | {"clock_blocked": None})


async def blocked(connection: AsyncConnection, most: int) -> list[str]:
    """Return the clocks of test accounts that stopped before their target, with the reason."""
    found = await connection.execute(_BLOCKED, {"most": most})
    return [f"{row.account}: {row.why}" for row in found]


async def move(connection: AsyncConnection, account_id: UUID, clock_at: datetime) -> Account:
    """Set the clock to an instant on the way to its target; never back."""
    on_its_way = {"clock_at": clock_at, "clock_status": "advancing", "clock_blocked": None}
    return await store.change(connection, account_id, on_its_way)


async def arrive(connection: AsyncConnection, account: Account) -> Account:
    """Set the clock to its target, because nothing is due before it, and end the walk."""
    there = {"clock_at": account.clock_target or account.clock_at, "clock_target": None}
    return await store.change(
        connection, account.id, there | {"clock_status": "ready", "clock_blocked": None}
    )


async def block(connection: AsyncConnection, account_id: UUID, why: str) -> Account:
    """Stop the walk, with the reason, because a matter makes no progress."""
    stopped = {"clock_status": "blocked", "clock_blocked": why}
    return await store.change(connection, account_id, stopped)
