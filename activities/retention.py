"""Deletion of old data: the settings say how many days of real time each kind is kept [P10]."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.paged_scan import drain, drain_along, drain_each
from billing.core.database import Database
from billing.core.settings import Settings
from billing.metering.quotas import service as quotas
from billing.metering.quotas import store as quota_store
from billing.money.reconciliations import store as reconciliations
from billing.platform.outbox import store as outbox_store
from billing.platform.provider_inbox import store as inbox

Go = Callable[[Database, datetime], Awaitable[int]]


def parts(
    database: Database, settings: Settings, now: datetime
) -> dict[str, Callable[[], Awaitable[int]]]:
    """Return the parts: payloads of handled events, published events, claims and
    runs of the comparison with the provider.
    """
    kept: dict[str, tuple[int, Go]] = {
        "payloads_emptied": (settings.retention_inbox_days, _drained(inbox.empty)),
        "events_dropped": (settings.retention_outbox_days, _events),
        "claims_expired": (settings.retention_claims_days, _expired_claims),
        "claims_forgotten": (settings.retention_claims_days, _drained(quota_store.forget)),
        "reconciliations_forgotten": (
            settings.retention_reconciliations_days,
            _drained(reconciliations.forget),
        ),
    }
    return {name: partial(_let_go, database, days, go, now) for name, (days, go) in kept.items()}


async def _let_go(database: Database, days: int, go: Go, now: datetime) -> int:
    return await go(database, now - timedelta(days=days)) if days else 0


def _drained(page: Callable[[AsyncConnection, datetime], Awaitable[int]]) -> Go:
    return lambda database, before: drain(database, lambda connection: page(connection, before))


async def _expired_claims(database: Database, before: datetime) -> int:
    return await drain_each(
        database,
        lambda connection, after: quota_store.expired(connection, before, after),
        quotas.expire,
        UUID(int=0),
    )


async def _events(database: Database, before: datetime) -> int:
    return await drain_along(
        database,
        lambda connection, after: outbox_store.drop(connection, before, after),
        UUID(int=0),
    )
