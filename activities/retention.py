"""Letting go of what is old: the settings say how many days of real time each is kept [P10]."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.paged_scan import drain
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
    return await drain(database, lambda connection: inbox.empty(connection, before))


async def _claims(database: Database, before: datetime) -> int:
    return await drain(database, lambda connection: quota_store.forget(connection, before))


async def _events(database: Database, before: datetime) -> int:
    return await drain(database, _EventPages(before).take)


class _EventPages:
    """Pages of old events. Each begins where the one before it ended: what was just deleted is not
    read again.
    """

    def __init__(self, before: datetime) -> None:
        self._before = before
        self._after = UUID(int=0)

    async def take(self, connection: AsyncConnection) -> int:
        many, last = await outbox_store.drop(connection, self._before, self._after)
        self._after = last or self._after
        return many
