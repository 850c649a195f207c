"""Parking mode: no step runs and nothing moves money, in every process, until it is ended.

It stands in the database, so that a restored one is parked by one command before anything starts.
"""

from time import monotonic
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import Unavailable
from billing.platform.audit import service as audit
from billing.platform.outbox import skipped
from billing.platform.parking import store
from billing.platform.parking.schemas import Parking

REMEMBERED_SECONDS: Final = 1.0
"""For so long a process may not know yet that it was parked."""
CODE: Final = "BILLING_PARKED"
WORDS: Final = "billing is parked: no money moves until `billing unpark` is run"


class Barrier:
    """Refuses in one process while the database is parked; it asks once in a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._parked = False
        self._known_until = 0.0

    async def refuse(self) -> None:
        """Errors: BILLING_PARKED."""
        if monotonic() >= self._known_until:
            async with self._database.tenant_statement() as connection:
                self._parked = await store.current(connection) is not None
            self._known_until = monotonic() + REMEMBERED_SECONDS
        if self._parked:
            raise Unavailable(CODE, WORDS)


async def park(connection: AsyncConnection, reason: str) -> Parking:
    """Park, or find it parked already; the numbers of events jump each time.

    A backup does not know which were given after it, so that none of them may be given again: nor
    does one that was taken while billing was parked. A jump too many harms nobody.
    """
    now = real_now()
    parking = await store.current(connection)
    if parking is None:
        # Before the audit below is written: the parking notes until when the data goes.
        parking = await store.begin(connection, ids.new(), reason, now)
        await audit.record(
            connection, account_id=None, action="parking.began", subject="parking", at=now,
            reason=reason,
        )  # fmt: skip
    await skipped.skip(connection, reason, now)
    return parking


async def unpark(connection: AsyncConnection) -> Parking | None:
    """End the parking; answers it, or None where there is none."""
    known = await store.current(connection)
    if known is not None:
        now = real_now()
        await store.end(connection, now)
        await audit.record(
            connection, account_id=None, action="parking.ended", subject="parking", at=now
        )
    return known
