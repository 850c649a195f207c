"""Billing periods: half-open, counted from the anchor's local wall time, never from a clamped date.

The 31st bills 31 Jan, 28 Feb, 31 Mar; a wall time that DST skips moves forward by the gap, and
for a repeated one the first counts (docs/rules/time.md).
"""

from calendar import monthrange
from datetime import MINYEAR, UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from billing.core.frozen import Frozen

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""An instant before anything that this service knows."""
MICROSECOND: Final = timedelta(microseconds=1)
"""The step of stored instants."""
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
"""The end of a span that has none."""
LONGEST_DAY: Final = timedelta(hours=26)
"""The longest day in any zone, plus a margin for clock differences."""
Unit = Literal["day", "week", "month", "year"]
_MONTHS: Final = {"month": 1, "year": 12}
_DAYS: Final = {"day": 1, "week": 7, "month": 28, "year": 365}
"""The minimum number of days of each unit."""
_AVERAGE_MONTH: Final = Fraction(146_097, 4_800)
"""Days; the calendar repeats after 400 years."""


class Interval(Frozen):
    """`count` units of calendar time, such as 1 month or 2 weeks."""

    unit: Unit = Field(description="The unit of time")
    count: int = Field(default=1, ge=1, le=366, description="How many of them")

    @property
    def average_days(self) -> Fraction:
        """Return the average length, by which intervals of different units are compared."""
        months = _MONTHS.get(self.unit)
        return self.count * (_AVERAGE_MONTH * months if months else Fraction(_DAYS[self.unit]))

    def fits_into(self, period: "Interval") -> bool:
        """True if a `period` is a whole number of such cycles.

        A month has no whole number of weeks: cycles of days fit if they are never longer than it.
        """
        mine, whole = _MONTHS.get(self.unit), _MONTHS.get(period.unit)
        if mine and whole:
            return whole * period.count % (mine * self.count) == 0
        days, least = _DAYS[self.unit] * self.count, _DAYS[period.unit] * period.count
        if whole:
            return days <= least
        return not mine and least % days == 0


MONTH = Interval(unit="month")
LAST_YEAR: Final = 9_000
"""Python knows 9999 years, and the search for the period of an instant looks at later ones."""
BEYOND_CALENDAR: Final = f"must be in the years {MINYEAR + 1} to {LAST_YEAR}"


def within_calendar(value: date) -> bool:
    """True if every zone can show the day, and its period can be found."""
    return MINYEAR < value.year <= LAST_YEAR


def to_wall(instant: datetime, zone: str) -> datetime:
    """Return the naive wall time of `instant` in `zone`."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def spoken_day(instant: datetime, zone: str) -> str:
    """Return the local day of the instant: `1 Feb 2027`."""
    return f"{to_wall(instant, zone):%-d %b %Y}"


def spoken_span(start: datetime, end: datetime, zone: str) -> str:
    """Return `1 Feb 2027 to 1 Mar 2027`: the first day, and the day of the end."""
    return f"{spoken_day(start, zone)} to {spoken_day(end, zone)}"


def from_wall(wall: datetime, zone: str) -> datetime:
    """Return the UTC instant of a wall time: the first if it repeats, later if DST skips it.

    With fold=0 Python reads a skipped time with the offset before the gap, which moves it forward.
    """
    return wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


# A decision asks for the same few again and again: a preview 94 times.
@lru_cache(maxsize=1_024)
def boundary(anchor_wall: datetime, zone: str, interval: Interval, number: int) -> datetime:
    """Return the start of period `number` (0 is the anchor itself), as a UTC instant."""
    steps = interval.count * number
    if interval.unit == "day":
        wall = anchor_wall + timedelta(days=steps)
    elif interval.unit == "week":
        wall = anchor_wall + timedelta(weeks=steps)
    else:
        wall = _add_months(anchor_wall, steps * (12 if interval.unit == "year" else 1))
    return from_wall(wall, zone)


def month_of(at: datetime, zone: str) -> tuple[datetime, datetime]:
    """Return start and end of the calendar month, the cycle of accounts without a subscription."""
    first = to_wall(at, zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return boundary(first, zone, MONTH, 0), boundary(first, zone, MONTH, 1)


@lru_cache(maxsize=1_024)
def index_at(anchor_wall: datetime, zone: str, interval: Interval, instant: datetime) -> int:
    """Return the number of the period of `instant`; 0 for any time before the first boundary."""
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


def first_from(anchor_wall: datetime, zone: str, interval: Interval, at: datetime) -> datetime:
    """Return the first boundary at or after an instant, from the anchor on."""
    number = index_at(anchor_wall, zone, interval, at)
    starts = (boundary(anchor_wall, zone, interval, n) for n in (number, number + 1))
    return next(one for one in starts if one >= at)


def anchor_for(wall: datetime, interval: Interval) -> tuple[datetime, int]:
    """Return an earlier anchor, and the number of its period that starts at this wall time.

    The anchor keeps the day of the month: a leap day recurs after four years.
    """
    if interval.unit in ("day", "week"):
        days = interval.count * (7 if interval.unit == "week" else 1)
        return wall - timedelta(days=days), 1
    number = 4 if interval.unit == "year" else 48
    return _add_months(wall, -number * interval.count * (48 // number)), number


def anchor_of_days(day: int, wall: datetime, interval: Interval) -> tuple[datetime, int]:
    """Return an earlier anchor for periods of days or weeks, and the number of `wall`'s period.

    If possible the anchor has that day of the month, for a later change to an interval of months.
    """
    length = timedelta(days=interval.count * (7 if interval.unit == "week" else 1))
    before = ((wall - number * length, number) for number in range(200))
    return next((one for one in before if one[0].day == day), (wall, 0))


def anchor_in(
    zone: str, anchor_wall: datetime, zone_before: str, interval: Interval, number: int
) -> tuple[datetime, int] | None:
    """Return an anchor in another zone, and the number of its period with the same start.

    The anchor keeps the day of the month, unless this period starts on the last day of a shorter
    month and the zone has another date then. None: the start is a repeated wall time's second
    occurrence, or a leap day on which no earlier period starts.
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
    """Return an anchor on a day of the month, and the number of the next period that starts on it.

    That is the first such day not before `wall`, at its time of day; a shorter month has its last
    day. The anchor is in an earlier period's month that has the day.
    """
    months = interval.count * (12 if interval.unit == "year" else 1)
    first = wall.replace(day=1)
    if wall.day > min(day, monthrange(wall.year, wall.month)[1]):
        first = _add_months(first, 1)
    # This many periods contain every month of the year, and a leap year.
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


def show_instant(at: datetime) -> str:
    """Format an instant as answers do: in UTC, with a `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
