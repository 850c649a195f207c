"""Billing periods: half-open, counted from the anchor's local wall time, never from a clamped date.

The 31st bills 31 Jan, 28 Feb, 31 Mar; a wall time that DST skips moves forward by the gap, and
one that repeats takes the first (docs/rules.md#time).
"""

from calendar import monthrange
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from billing.core.frozen import Frozen

Unit = Literal["day", "week", "month", "year"]
_MONTHS: Final = {"month": 1, "year": 12}
_DAYS: Final = {"day": 1, "week": 7, "month": 28, "year": 365}
"""At least so many."""


class Interval(Frozen):
    """`count` units of calendar time, such as 1 month or 2 weeks."""

    unit: Unit
    count: int = Field(default=1, ge=1, le=366)

    def fits_into(self, period: "Interval") -> bool:
        """True if a `period` is a whole number of such cycles.

        No month is a number of weeks: cycles of days fit if none is longer than a month ever is.
        """
        mine, whole = _MONTHS.get(self.unit), _MONTHS.get(period.unit)
        if mine and whole:
            return whole * period.count % (mine * self.count) == 0
        days, least = _DAYS[self.unit] * self.count, _DAYS[period.unit] * period.count
        if whole:
            return days <= least
        return not mine and least % days == 0


MONTH = Interval(unit="month")
BEYOND_CALENDAR: Final = f"must be in the years {MINYEAR + 1} to {MAXYEAR - 1}"


def within_calendar(value: date) -> bool:
    """True if every zone can show the day: the calendar's first and last year are left out."""
    return MINYEAR < value.year < MAXYEAR


def to_wall(instant: datetime, zone: str) -> datetime:
    """The naive wall-clock reading of `instant` in `zone`."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def spoken_day(instant: datetime, zone: str) -> str:
    """The day that it is there then: `1 Feb 2027`."""
    return f"{to_wall(instant, zone):%-d %b %Y}"


def spoken_span(start: datetime, end: datetime, zone: str) -> str:
    """`1 Feb 2027 to 1 Mar 2027`: from the first day to the one on which it is over."""
    return f"{spoken_day(start, zone)} to {spoken_day(end, zone)}"


def from_wall(wall: datetime, zone: str) -> datetime:
    """The UTC instant of a wall time: the first of a repeated one, a skipped one pushed on.

    With fold=0 Python reads a skipped time by the offset before the gap, which is that push.
    """
    return wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def boundary(anchor_wall: datetime, zone: str, interval: Interval, number: int) -> datetime:
    """Start of period `number` (0 is the anchor itself), as a UTC instant."""
    steps = interval.count * number
    if interval.unit == "day":
        wall = anchor_wall + timedelta(days=steps)
    elif interval.unit == "week":
        wall = anchor_wall + timedelta(weeks=steps)
    else:
        wall = _add_months(anchor_wall, steps * (12 if interval.unit == "year" else 1))
    return from_wall(wall, zone)


def month_of(at: datetime, zone: str) -> tuple[datetime, datetime]:
    """Start and end of the calendar month: the cycle of whoever has no subscription."""
    first = to_wall(at, zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return boundary(first, zone, MONTH, 0), boundary(first, zone, MONTH, 1)


def index_at(anchor_wall: datetime, zone: str, interval: Interval, instant: datetime) -> int:
    """The number of the period that holds `instant`; 0 for any time before the first boundary."""
    days = _DAYS[interval.unit] * interval.count
    anchor = from_wall(anchor_wall, zone)
    low, high = 0, max(1, (instant - anchor).days // days + 2)
    while low < high:
        middle = (low + high + 1) // 2
        if boundary(anchor_wall, zone, interval, middle) <= instant:
            low = middle
        else:
            high = middle - 1
    return low


def anchor_for(wall: datetime, interval: Interval) -> tuple[datetime, int]:
    """An anchor before it, and the number of the period that starts at this wall time.

    The day of the month is kept: February of a leap year comes again after four years.
    """
    if interval.unit in ("day", "week"):
        days = interval.count * (7 if interval.unit == "week" else 1)
        return wall - timedelta(days=days), 1
    number = 4 if interval.unit == "year" else 48
    return _add_months(wall, -number * interval.count * (48 // number)), number


def anchor_of_days(day: int, wall: datetime, interval: Interval) -> tuple[datetime, int]:
    """An anchor before it for periods of days or weeks, and the number of the one that starts then.

    It stands on that day of the month, where one does, for an interval of months that may come.
    """
    length = timedelta(days=interval.count * (7 if interval.unit == "week" else 1))
    before = ((wall - number * length, number) for number in range(200))
    return next((one for one in before if one[0].day == day), (wall, 0))


def anchor_in(
    zone: str, anchor_wall: datetime, zone_before: str, interval: Interval, number: int
) -> tuple[datetime, int] | None:
    """An anchor in another zone, and the number of the period there that starts when this one does.

    The day of the month is kept, unless this period starts on the last day of a shorter one and the
    zone has another date then. None: its clock shows the time for the second time, or it is a leap
    day that no such period before it starts on.
    """
    start = boundary(anchor_wall, zone_before, interval, number)
    wall = to_wall(start, zone)
    if from_wall(wall, zone) != start:
        return None
    anchor = anchor_wall + (wall - to_wall(start, zone_before))
    if boundary(anchor, zone, interval, number) == start:
        return anchor, number
    anchor, number = anchor_for(wall, interval)
    return (anchor, number) if boundary(anchor, zone, interval, number) == start else None


def anchor_on(day: int, wall: datetime, interval: Interval) -> tuple[datetime, int]:
    """An anchor on a day of the month, and the number of the period that starts on it next.

    That is the first such day that is not before `wall`, at its time of day; a month without it has
    its last one. Of the periods before, the anchor is one whose month has the day.
    """
    months = interval.count * (12 if interval.unit == "year" else 1)
    first = wall.replace(day=1)
    if wall.day > min(day, monthrange(wall.year, wall.month)[1]):
        first = _add_months(first, 1)
    # In so many periods every month of the year comes, and a leap year.
    before = range(5 if interval.unit == "year" else 13)
    starts = [_add_months(first, -number * months) for number in before]
    length = [min(day, monthrange(one.year, one.month)[1]) for one in starts]
    number = length.index(max(length))
    return starts[number].replace(day=length[number]), number


def _add_months(wall: datetime, months: int) -> datetime:
    years, month = divmod(wall.month - 1 + months, 12)
    year = wall.year + years
    return wall.replace(
        year=year, month=month + 1, day=min(wall.day, monthrange(year, month + 1)[1])
    )
