"""Event numbers that this database never assigns: they may have been assigned before a restore.

The numbers of every account, including future ones, continue after the last of them: each numbering
of events reads the table.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, row_writes
from billing.core.periods import EPOCH, MICROSECOND
from billing.platform.audit import service as audit
from billing.platform.outbox.tables import skipped_events

_LAST: Final = text(
    "SELECT greatest(0, (SELECT max(event_seq) FROM credit_balances),"
    " (SELECT max(last_number) FROM skipped_events))"
)


async def skip(connection: AsyncConnection, reason: str, at: datetime) -> None:
    """Continue event numbers after the current time in microseconds.

    No account has that many events, so all numbers that this or other restored databases assigned
    are lower; and JavaScript still represents them exactly.
    """
    first = int(await connection.scalar(_LAST) or 0) + 1
    last = max(first, (at - EPOCH) // MICROSECOND)
    gap = {"first_number": first, "last_number": last}
    await row_writes.add(
        connection, skipped_events, gap | {"id": ids.new(), "reason": reason, "at": at}
    )
    await audit.record(
        connection, account_id=None, action="events.skipped", subject="events", at=at,
        first=first, last=last, reason=reason,
    )  # fmt: skip
