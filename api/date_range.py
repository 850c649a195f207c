"""Date ranges of reads of usage: whole days in the account's zone; both ends are inclusive."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Final

from fastapi import Query
from pydantic import AfterValidator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AccountCall
from billing.core import periods
from billing.core.clock import real_now
from billing.core.errors import Invalid

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400


def _known(day: date) -> date:
    if not periods.within_calendar(day):
        raise ValueError(periods.BEYOND_CALENDAR)
    return day


MaybeDay = Annotated[
    Annotated[date, AfterValidator(_known)] | None,
    Query(description="A day such as 2026-12-01, in the account's zone; inclusive."),
]


@dataclass(frozen=True, slots=True)
class Days:
    """A range of days as a half-open range of instants; `as_of` is how fresh the answer is."""

    first: date
    last: date
    start: datetime
    end: datetime
    zone: str
    as_of: datetime


async def span(
    call: AccountCall,
    connection: AsyncConnection,
    first: date | None,
    last: date | None,
    names: tuple[str, str] = ("start_date", "end_date"),
) -> Days:
    """The requested days, named by these fields in errors; the last thirty by default."""
    account = await call.read_account(connection)
    zone, now = account.zone, account.clock_at or real_now()
    last = last or periods.to_wall(now, zone).date()
    first = first or last - timedelta(days=DEFAULT_DAYS - 1)
    if not 0 <= (last - first).days < MAX_DAYS:
        raise Invalid("VALIDATION_FAILED", f"{names[1]}: from {names[0]} up to {MAX_DAYS} days on")
    start, end = (
        periods.from_wall(datetime.combine(day, time()), zone)
        for day in (first, last + timedelta(days=1))
    )
    return Days(first, last, start, end, zone, now - await call.database.lag(connection))
