"""Date ranges of reads: whole days in the account's zone, both ends inclusive. Lists also take
instants.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BeforeValidator, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.schemas import DAY, Day, Instant
from api.calls import ReadCall
from billing.core import periods
from billing.core.clock import now_by
from billing.core.errors import wrong_field
from billing.platform.accounts import store as accounts

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400


MaybeDay = Annotated[
    Day | None, Query(description="A day such as 2026-12-01, in the account's zone; inclusive.")
]
MaybeUtcDay = Annotated[
    Day | None, Query(description="A day such as 2026-12-01, in UTC; inclusive.")
]


def _moment(value: Any) -> Any:
    if isinstance(value, str) and DAY.fullmatch(value):
        return _day.validate_python(value)
    return _instant.validate_python(value)


_day: Final[TypeAdapter[date]] = TypeAdapter(Day)
_instant: Final[TypeAdapter[datetime]] = TypeAdapter(Instant)
MaybeMoment = Annotated[
    Annotated[datetime | date, BeforeValidator(_moment)] | None,
    Query(
        description="A day such as 2026-12-01, in the account's zone and inclusive, or an instant:"
        " from it on, or before it."
    ),
]


@dataclass(frozen=True, slots=True)
class Days:
    """A range of days as a half-open range of instants; `as_of` says how current the data is."""

    first: date
    last: date
    start: datetime
    end: datetime
    zone: str
    as_of: datetime


async def moments(
    call: ReadCall,
    connection: AsyncConnection,
    first: datetime | date | None,
    last: datetime | date | None,
) -> tuple[datetime | None, datetime | None]:
    """Return the instants that bound a list; None for an open end."""
    account = await accounts.find_by_id(connection, call.account_id) if first or last else None
    return bounds(first, last, account.zone if account else "UTC")


def bounds(
    first: datetime | date | None, last: datetime | date | None, zone: str
) -> tuple[datetime | None, datetime | None]:
    """Return the instants that bound a list, for a known time zone.

    Raises `Invalid` VALIDATION_FAILED if the last is before the first.
    """
    after = last + timedelta(days=1) if last and not isinstance(last, datetime) else last
    start, end = _begin(first, zone), _begin(after, zone)
    # A last day ends a day later: then it is the day before `first` that ends where that begins.
    if start and end and (end < start or (end == start and not isinstance(last, datetime))):
        raise wrong_field("end_date", "must not be before start_date")
    return start, end


def _begin(moment: datetime | date | None, zone: str) -> datetime | None:
    if moment is None or isinstance(moment, datetime):
        return moment
    return periods.from_wall(datetime.combine(moment, time()), zone)


async def span(
    call: ReadCall,
    connection: AsyncConnection,
    first: date | None,
    last: date | None,
) -> Days:
    """Return the requested days; the last thirty by default."""
    account = await accounts.find_by_id(connection, call.account_id)
    zone = account.zone if account else "UTC"
    now = now_by(account.clock_at if account else None)
    last = last or periods.to_wall(now, zone).date()
    first = first or last - timedelta(days=DEFAULT_DAYS - 1)
    if not 0 <= (last - first).days < MAX_DAYS:
        why = f"must be less than {MAX_DAYS} days after start_date, and not before it"
        raise wrong_field("end_date", why)
    start, end = (
        periods.from_wall(datetime.combine(day, time()), zone)
        for day in (first, last + timedelta(days=1))
    )
    return Days(first, last, start, end, zone, now - await call.database.lag(connection))
