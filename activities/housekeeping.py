"""The job `housekeeping`: what is made in advance, and what is too old to keep."""

from datetime import timedelta
from typing import Final

from activities import retention
from activities.paged_scan import drain, drain_along, each_apart
from billing.core.clock import agreed_now
from billing.core.database import Database
from billing.core.settings import Settings
from billing.metering.usage import months
from billing.money.purchases import store as purchases
from billing.platform.idempotency import store as idempotency
from billing.platform.rate_windows import store as rate_windows

ARCHIVE_AFTER: Final = timedelta(days=90)
# The longest window of a rate limit.
RATES_KEPT: Final = timedelta(days=1)


async def clear(database: Database, settings: Settings) -> dict[str, int]:
    """Create the next months' tables; delete old idempotency keys [P10] and rate windows;
    archive old purchases [E14]; delete data past its retention settings.
    """
    async with database.operator() as connection:
        now = await agreed_now(connection)
    return await each_apart(
        {
            # First: a use in a month without a table would be refused.
            "months_made": lambda: _make_months(database),
            "keys_purged": lambda: drain(
                database, lambda connection: idempotency.purge(connection, now)
            ),
            "purchases_archived": lambda: drain(
                database,
                lambda connection: purchases.archive(connection, ARCHIVE_AFTER, now),
            ),
            "rates_forgotten": lambda: drain_along(
                database,
                lambda connection, after: rate_windows.purge(connection, RATES_KEPT, after),
                after="",
            ),
        }
        | retention.parts(database, settings, now)
    )


async def _make_months(database: Database) -> int:
    async with database.operator() as connection:
        return await months.make(connection)
