"""Queries on parkings."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import row_writes
from billing.core.prepared import Prepared, given
from billing.platform.parking.schemas import Parking
from billing.platform.parking.tables import parkings

_OPEN: Final = Prepared(select(parkings).where(parkings.c.ended_at.is_(None)))
_END: Final = Prepared(
    update(parkings).where(parkings.c.ended_at.is_(None)).values(ended_at=given("at"))
)
_SINCE: Final = Prepared(
    select(func.count()).where(
        parkings.c.ended_at.is_(None) | (parkings.c.ended_at > given("since"))
    )
)
# Every running process writes these, in real time. Of the audit only ids have an index that finds
# the last row.
_DATA_UNTIL: Final = text(
    "SELECT greatest((SELECT max(seen_at) FROM processes),"
    " (SELECT real_at FROM billing_audit ORDER BY id DESC LIMIT 1))"
)


async def current(connection: AsyncConnection) -> Parking | None:
    """Return the parking in force, if any."""
    row = await _OPEN.first(connection)
    return Parking.model_validate(row) if row else None


async def was_parked(connection: AsyncConnection, since: datetime) -> bool:
    """Return True if billing is parked, or was until after `since`."""
    return bool(await _SINCE.scalar(connection, since=since))


async def begin(
    connection: AsyncConnection, parking_id: UUID, reason: str, at: datetime
) -> Parking:
    """Park from now on."""
    row = {
        "id": parking_id, "reason": reason, "parked_at": at,
        "data_until": await connection.scalar(_DATA_UNTIL),
    }  # fmt: skip
    return Parking.model_validate(await row_writes.add(connection, parkings, row))


async def give_reason(connection: AsyncConnection, reason: str) -> Parking:
    """Replace the reason of the parking in force."""
    done = await connection.execute(
        update(parkings)
        .where(parkings.c.ended_at.is_(None))
        .values(reason=reason)
        .returning(parkings)
    )
    return Parking.model_validate(dict(done.mappings().one()))


async def end(connection: AsyncConnection, at: datetime) -> None:
    """End the parking in force."""
    await _END.run(connection, at=at)
