"""Letting go of what is old: the settings say how many days of real time each is kept [P10]."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.core.settings import Settings
from billing.metering.quotas import store as quota_store
from billing.platform.outbox import store as outbox_store
from billing.platform.provider_inbox import store as inbox


async def let_go(database: Database, settings: Settings, now: datetime) -> dict[str, int]:
    """Payloads of events that were handled, events that were published, claims that are closed."""
    kept = {
        "payloads_emptied": (settings.retention_inbox_days, _payloads),
        "events_dropped": (settings.retention_outbox_days, _events),
        "claims_forgotten": (settings.retention_claims_days, _claims),
    }
    return {
        name: await go(database, now - timedelta(days=days)) if days else 0
        for name, (days, go) in kept.items()
    }


async def _payloads(database: Database, before: datetime) -> int:
    return await _pages(database, before, inbox.empty, inbox.EMPTY_PAGE)


async def _claims(database: Database, before: datetime) -> int:
    return await _pages(database, before, quota_store.forget, quota_store.FORGET_PAGE)


async def _events(database: Database, before: datetime) -> int:
    total = 0
    after: UUID | None = UUID(int=0)
    while after is not None:
        async with database.operator() as connection:
            many, after = await outbox_store.drop(connection, before, after)
        total += many
    return total


async def _pages(
    database: Database,
    before: datetime,
    page: Callable[[AsyncConnection, datetime], Awaitable[int]],
    size: int,
) -> int:
    total, many = 0, size
    while many == size:
        async with database.operator() as connection:
            many = await page(connection, before)
        total += many
    return total
