"""The frozen clock of a test account: its target, and where its walk stands.

Only forward, only for test accounts; the walk itself goes from due instant to due instant.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts import store
from billing.accounts.schemas import Account
from billing.accounts.tables import accounts
from billing.audit import service as audit
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import Conflict, Invalid, NotFound


async def aim(connection: AsyncConnection, account_id: UUID, target: datetime) -> Account:
    """Set where the clock shall walk to; a test account in real time is frozen first.

    Errors: CLOCK_NEEDS_TEST_ACCOUNT, CLOCK_BACKWARDS.
    """
    account = await lock(connection, account_id)
    if not account.is_test:
        raise Conflict(
            "CLOCK_NEEDS_TEST_ACCOUNT", "only a test account may have a clock of its own"
        )
    clock_at = account.clock_at or real_now()
    if target < max(clock_at, account.clock_target or clock_at):
        raise Invalid("CLOCK_BACKWARDS", "a clock only moves forward")
    await audit.record(
        connection,
        account_id=account_id,
        action="clock.aimed",
        subject=ids.encode(ids.ACCOUNT, account_id),
        at=clock_at,
        target=target.isoformat(),
    )
    return await _change(
        connection, account_id, clock_at=clock_at, clock_target=target,
        clock_status="advancing", clock_blocked=None,
    )  # fmt: skip


async def move(connection: AsyncConnection, account_id: UUID, clock_at: datetime) -> Account:
    """Set the clock to an instant on its way; never back."""
    return await _change(connection, account_id, clock_at=clock_at)


async def arrive(connection: AsyncConnection, account: Account) -> Account:
    """Nothing is due before the target: the clock stands there, and the walk is over."""
    return await _change(
        connection, account.id, clock_at=account.clock_target or account.clock_at,
        clock_target=None, clock_status="ready", clock_blocked=None,
    )  # fmt: skip


async def block(connection: AsyncConnection, account_id: UUID, why: str) -> Account:
    """A matter does not get on: the walk stops where it is, and says why."""
    return await _change(connection, account_id, clock_status="blocked", clock_blocked=why)


async def advancing(connection: AsyncConnection) -> list[UUID]:
    """The accounts whose clock is on its way, for whoever restarts their walks."""
    rows = await connection.execute(
        select(accounts.c.id).where(accounts.c.clock_status == "advancing").order_by(accounts.c.id)
    )
    return list(rows.scalars())


async def lock(connection: AsyncConnection, account_id: UUID) -> Account:
    """The account's row, locked against another walker."""
    rows = await connection.execute(
        select(accounts).where(accounts.c.id == account_id).with_for_update(key_share=True)
    )
    row = rows.mappings().one_or_none()
    if row is None:
        raise NotFound("MERCHANT_NOT_FOUND", "no such account")
    return store.show(row)


async def _change(connection: AsyncConnection, account_id: UUID, **fields: object) -> Account:
    row = await connection.execute(
        update(accounts).where(accounts.c.id == account_id).values(**fields).returning(accounts)
    )
    return store.show(row.mappings().one())
