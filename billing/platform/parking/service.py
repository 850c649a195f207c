"""Parking mode: no step runs and nothing moves money, in every process, until it is ended.

It is stored in the database, so that one command parks a restored one before anything starts.
"""

from time import monotonic
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import Unavailable
from billing.core.transaction_settings import WHOLE_TABLE_MS, limit_statements
from billing.platform.audit import service as audit
from billing.platform.outbox import skipped
from billing.platform.parking import store
from billing.platform.parking.schemas import Parking

REMEMBERED_SECONDS: Final = 1.0
"""The time after which every process knows that it was parked."""
CODE: Final = "BILLING_PARKED"


class Barrier:
    """Refuses work in one process while the database is parked; it checks once a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._parked = False
        self._known_until = 0.0

    async def refuse(self) -> None:
        """Raise if billing is parked. Errors: BILLING_PARKED."""
        if monotonic() >= self._known_until:
            async with self._database.tenant_statement() as connection:
                self._parked = await store.current(connection) is not None
            self._known_until = monotonic() + REMEMBERED_SECONDS
        if self._parked:
            raise Unavailable(CODE)


async def park(connection: AsyncConnection, reason: str) -> Parking:
    """Park, or give the current parking this reason; event numbers jump each time.

    A backup, even one taken while billing was parked, does not know the numbers assigned after it,
    and none may be assigned again. An unnecessary jump does no harm.
    """
    await limit_statements(connection, WHOLE_TABLE_MS)
    now = real_now()
    parking = await store.current(connection)
    if parking is None:
        # Before the audit row below, because the parking notes the latest activity.
        parking = await store.begin(connection, ids.new(), reason, now)
        await audit.record(
            connection, account_id=None, action="parking.began", subject="parking", at=now,
            reason=reason,
        )  # fmt: skip
    elif parking.reason != reason:
        await audit.record(
            connection, account_id=None, action="parking.reason_changed", subject="parking",
            at=now, reason=reason, before=parking.reason,
        )  # fmt: skip
        parking = await store.give_reason(connection, reason)
    await skipped.skip(connection, reason, now)
    return parking


async def unpark(connection: AsyncConnection) -> Parking | None:
    """End the parking; return it, or None if there is none."""
    known = await store.current(connection)
    if known is not None:
        now = real_now()
        await store.end(connection, now)
        await audit.record(
            connection, account_id=None, action="parking.ended", subject="parking", at=now
        )
    return known
