"""The use of an owner by meter and hour, day or month, from counters; records are summed where no
counter tells services or hours apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from functools import partial
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import periods
from billing.core.money import ZERO
from billing.metering.usage import levels, logs, rules, sums


@dataclass(frozen=True, slots=True)
class Bucket:
    """The use of one meter in the hour, day or month that begins at `bucket`."""

    bucket: datetime
    meter: str
    quantity: Decimal
    """Of a level the highest reading."""
    events: int
    maximum: Decimal
    """The largest use."""
    credits: Decimal


async def buckets(
    connection: AsyncConnection,
    account_id: UUID,
    owner: str,
    grain: Literal["hour", "day"],
    service: str | None,
    start: datetime,
    end: datetime,
) -> list[Bucket]:
    """Return an owner's use, of one service if it is named, newest first; '' is the account."""
    asked = account_id, owner, grain, start, end
    read = partial(sums.buckets, *asked)
    rows: list[Any] = []
    if owner and grain == "hour":  # hours are counted for the whole account only
        hours = sums.buckets(account_id, "", grain, start, end)
        mixed = {row.meter for row in await connection.execute(hours)}
    elif service is None:
        return _shown(await connection.execute(read()))
    elif not owner and grain == "day":
        return _shown(await connection.execute(read(service=service)))
    else:
        known = await sums.services_of(connection, account_id, start, end)
        meters = [meter for meter, services in known.items() if service in services]
        counted = list(await connection.execute(read(meters=meters)))
        mixed = {row.meter for row in counted if len(known[row.meter]) > 1}
        rows = [row for row in counted if row.meter not in mixed]
    if mixed:
        summed = sums.buckets_of_records(*asked, meters=mixed, service=service)
        rows += await connection.execute(summed)
    return sorted(_shown(rows), key=lambda row: (-row.bucket.timestamp(), row.meter))


async def by_month(connection: AsyncConnection, days: Iterable[Bucket], zone: str) -> list[Bucket]:
    """Sum the days of each calendar month to one bucket per meter, newest first; of a level the
    highest day counts.
    """
    highest = await levels.keys(connection)
    months: defaultdict[tuple[datetime, str], list[Bucket]] = defaultdict(list)
    for day in days:
        first = datetime.combine(rules.day_of(day.bucket, zone).replace(day=1), time())
        months[periods.from_wall(first, zone), day.meter].append(day)
    return [
        Bucket(
            bucket=start,
            meter=meter,
            maximum=max(ZERO, *(row.maximum for row in rows)),
            **totals(rows, is_level=meter in highest),
        )
        for (start, meter), rows in months.items()
    ]


async def by_meter(
    connection: AsyncConnection, account_id: UUID, start: datetime, end: datetime
) -> dict[str, dict[str, Any]]:
    """Return the sums of an account's days by meter, in the order of their keys; captures without
    a use are those of the meter `logs.METER`.
    """
    meters: defaultdict[str, list[Bucket]] = defaultdict(list)
    for row in await buckets(connection, account_id, "", "day", None, start, end):
        meters[row.meter].append(row)
    events, spent = await logs.captured(connection, account_id, start, end)
    if events:
        meters[logs.METER].append(Bucket(start, logs.METER, spent, events, spent, spent))
    highest = await levels.keys(connection)
    return {
        meter: totals(rows, is_level=meter in highest) for meter, rows in sorted(meters.items())
    }


def totals(rows: Sequence[Bucket], *, is_level: bool) -> dict[str, Any]:
    """Return the quantity, events and credits of one meter's buckets; of a level the highest."""
    quantities = [row.quantity for row in rows]
    return {
        "quantity": max(quantities) if is_level else sum(quantities, ZERO),
        "events": sum(row.events for row in rows),
        "credits": sum((row.credits for row in rows), ZERO),
    }


def _shown(rows: Iterable[Any]) -> list[Bucket]:
    return [
        Bucket(row.bucket, row.meter, row.quantity, row.events, row.maximum, row.credits)
        for row in rows
    ]
