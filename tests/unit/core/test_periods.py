"""Periods held against a second opinion: the `whenever` library, and cases worked out by hand."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import PlainDateTime

from billing.core.periods import (
    LAST_YEAR,
    MONTH,
    Interval,
    Unit,
    anchor_for,
    anchor_in,
    anchor_of_days,
    anchor_on,
    boundary,
    first_from,
    from_wall,
    index_at,
    month_of,
    to_wall,
    within_calendar,
)

ZONES: Final = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
)
MONTHS: Final = 48


def wall(text: str) -> datetime:
    """The time that a clock on the wall shows: no zone, on purpose."""
    return datetime.fromisoformat(text)


walls = st.datetimes(min_value=wall("2000-01-01"), max_value=wall("2035-01-01"))
intervals = st.builds(Interval, unit=st.sampled_from(get_args(Unit)), count=st.integers(1, 24))
zones = st.sampled_from(ZONES)


def oracle(anchor: datetime, zone: str, unit: Unit, steps: int) -> datetime:
    """The same question put to another library: its calendar, its time zones, its rules."""
    start = PlainDateTime(
        anchor.year, anchor.month, anchor.day, anchor.hour, anchor.minute, anchor.second,
        nanosecond=anchor.microsecond * 1_000,
    )  # fmt: skip
    moved = {
        "day": lambda: start.add(days=steps),
        "week": lambda: start.add(weeks=steps),
        "month": lambda: start.add(months=steps),
        "year": lambda: start.add(years=steps),
    }[unit]()
    instant = moved.assume_tz(zone, disambiguation="compatible").to_instant()
    return datetime.fromtimestamp(instant.timestamp(), UTC).replace(microsecond=anchor.microsecond)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", range(1, 32))
def test_four_years_of_months_start_where_a_second_library_says(zone: str, day: int) -> None:
    # Half past two: inside the hour that clocks skip or repeat almost everywhere.
    anchor = wall(f"2024-01-{day:02}T02:30")
    for number in range(MONTHS + 1):
        assert boundary(anchor, zone, MONTH, number) == oracle(anchor, zone, "month", number)


@given(walls, zones, intervals, st.integers(0, 60))
def test_any_period_starts_where_a_second_library_says(
    anchor: datetime, zone: str, interval: Interval, number: int
) -> None:
    assert boundary(anchor, zone, interval, number) == oracle(
        anchor, zone, interval.unit, interval.count * number
    )


@given(walls, zones, intervals, st.integers(0, 60))
def test_periods_follow_each_other_without_gap_or_overlap(
    anchor: datetime, zone: str, interval: Interval, number: int
) -> None:
    start = boundary(anchor, zone, interval, number)
    end = boundary(anchor, zone, interval, number + 1)
    assert start < end
    assert index_at(anchor, zone, interval, start) == number
    assert index_at(anchor, zone, interval, end - timedelta(microseconds=1)) == number
    assert index_at(anchor, zone, interval, end) == number + 1


@given(walls, zones, intervals, st.timedeltas(timedelta(microseconds=1), timedelta(days=4000)))
def test_before_the_anchor_it_is_the_first_period(
    anchor: datetime, zone: str, interval: Interval, before: timedelta
) -> None:
    instant = boundary(anchor, zone, interval, 0) - before
    assert index_at(anchor, zone, interval, instant) == 0


@given(walls, zones, st.sampled_from(get_args(Unit)), st.integers(1, 366))
def test_the_last_instant_of_the_calendar_has_a_period(
    anchor: datetime, zone: str, unit: Unit, count: int
) -> None:
    last = datetime(LAST_YEAR, 12, 31, 23, 59, tzinfo=UTC)
    interval = Interval(unit=unit, count=count)
    number = index_at(anchor, zone, interval, last)
    assert boundary(anchor, zone, interval, number) <= last
    assert first_from(anchor, zone, interval, last) >= last


@given(walls, zones, zones, intervals, st.integers(0, 200))
def test_another_zone_begins_at_the_very_instant_that_was_promised(
    anchor: datetime, before: str, zone: str, interval: Interval, number: int
) -> None:
    start = boundary(anchor, before, interval, number)
    found = anchor_in(zone, anchor, before, interval, number)
    if found is None:
        local = start.astimezone(ZoneInfo(zone))
        waits = local.fold == 1 or (local.month, local.day) == (2, 29)
        assert waits, "only the second of two equal times waits, or a leap day"
        return
    moved, place = found
    assert boundary(moved, zone, interval, place) == start
    assert index_at(moved, zone, interval, start) == place
    # Later ones are near where they were: the day of a short month may stay.
    for step in range(1, 13):
        was = boundary(anchor, before, interval, number + step)
        now = boundary(moved, zone, interval, place + step)
        assert abs(now - was) < timedelta(days=4), (was, now)


def test_the_31st_keeps_its_day_in_another_zone() -> None:
    anchor = wall("2025-01-31T12:00")
    moved, number = anchor_in("America/New_York", anchor, "Europe/Berlin", MONTH, 1) or (anchor, 0)
    days = [boundary(moved, "America/New_York", MONTH, number + n) for n in range(3)]
    assert [f"{day:%d %b %H:%M}" for day in days] == [
        "28 Feb 11:00",
        "31 Mar 10:00",
        "30 Apr 10:00",
    ]


def test_midnight_of_a_last_day_is_the_day_before_it_from_then_on() -> None:
    anchor = wall("2025-01-31T00:00")
    moved, number = anchor_in("America/New_York", anchor, "Europe/Berlin", MONTH, 1) or (anchor, 0)
    days = [boundary(moved, "America/New_York", MONTH, number + n) for n in range(3)]
    assert [f"{day:%d %b %H:%M}" for day in days] == [
        "27 Feb 23:00",
        "27 Mar 22:00",
        "27 Apr 22:00",
    ]


def test_the_31st_bills_the_last_day_of_short_months_and_comes_back() -> None:
    anchor = wall("2025-01-31T12:00")
    days = [boundary(anchor, "UTC", MONTH, n).strftime("%d %b") for n in range(6)]
    assert days == ["31 Jan", "28 Feb", "31 Mar", "30 Apr", "31 May", "30 Jun"]


def test_a_leap_day_bills_the_28th_until_the_next_leap_year() -> None:
    anchor, yearly = wall("2024-02-29T09:00"), Interval(unit="year")
    days = [boundary(anchor, "UTC", yearly, n).strftime("%d %b %Y") for n in range(5)]
    assert days == ["29 Feb 2024", "28 Feb 2025", "28 Feb 2026", "28 Feb 2027", "29 Feb 2028"]


@pytest.mark.parametrize(
    ("shown", "zone", "instant"),
    [
        # Skipped: pushed forward by the gap.
        ("2025-03-30T02:30", "Europe/Berlin", "2025-03-30T01:30"),  # 03:30 summer time
        ("2025-03-30T01:15", "Europe/London", "2025-03-30T01:15"),  # 02:15 summer time
        ("2025-03-09T02:00", "America/New_York", "2025-03-09T07:00"),  # 03:00 summer time
        ("2025-10-05T02:15", "Australia/Lord_Howe", "2025-10-04T15:45"),  # 02:45: half an hour
        ("2024-09-08T00:30", "America/Santiago", "2024-09-08T04:30"),  # midnight is skipped
        ("2011-12-30T10:00", "Pacific/Apia", "2011-12-30T20:00"),  # a whole day: 31 December
        # Repeated: the first of the two.
        ("2025-10-26T02:30", "Europe/Berlin", "2025-10-26T00:30"),
        ("2025-10-26T01:30", "Europe/London", "2025-10-26T00:30"),
        ("2025-11-02T01:59", "America/New_York", "2025-11-02T05:59"),
        ("2025-04-06T01:45", "Australia/Lord_Howe", "2025-04-05T14:45"),
        # Neither.
        ("2025-07-01T00:00", "Asia/Kathmandu", "2025-06-30T18:15"),
    ],
)
def test_wall_times_that_clocks_skip_or_repeat(shown: str, zone: str, instant: str) -> None:
    assert from_wall(wall(shown), zone) == utc(instant)


def test_the_customers_hour_stays_when_summer_time_begins() -> None:
    anchor = wall("2025-03-15T09:00")
    starts = [boundary(anchor, "Europe/Berlin", MONTH, n) for n in range(2)]
    assert starts == [utc("2025-03-15T08:00"), utc("2025-04-15T07:00")]


def test_a_skipped_hour_moves_one_period_only() -> None:
    anchor, daily = wall("2025-03-29T02:30"), Interval(unit="day")
    clocks = [
        to_wall(boundary(anchor, "Europe/Berlin", daily, n), "Europe/Berlin") for n in (0, 1, 2)
    ]
    assert [shown.strftime("%d %H:%M") for shown in clocks] == ["29 02:30", "30 03:30", "31 02:30"]


@given(walls, zones)
def test_reading_a_clock_and_back_is_the_same_instant_or_the_first_of_two(
    naive: datetime, zone: str
) -> None:
    instant = naive.replace(tzinfo=UTC)
    back = from_wall(to_wall(instant, zone), zone)
    assert back <= instant
    assert to_wall(back, zone) == to_wall(instant, zone)


@pytest.mark.parametrize("count", [0, -1, 367])
def test_an_interval_has_between_1_and_366_units(count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        Interval(unit="day", count=count)


@given(
    st.datetimes(wall("2000-01-01"), wall("2035-01-01"), timezones=st.just(UTC)),
    # In Asunción and Havana some months begin at a midnight that is skipped, or comes twice.
    st.sampled_from([*ZONES, "America/Asuncion", "America/Havana"]),
)
def test_every_instant_is_in_its_month_and_months_follow_each_other(
    at: datetime, zone: str
) -> None:
    start, following = month_of(at, zone)
    assert start <= at < following
    assert month_of(following, zone)[0] == following
    assert month_of(following - timedelta(microseconds=1), zone) == (start, following)
    assert timedelta(days=27) < following - start < timedelta(days=32)


def test_a_month_whose_first_midnight_is_skipped_begins_an_hour_later() -> None:
    start, _ = month_of(datetime(2023, 10, 15, tzinfo=UTC), "America/Asuncion")
    assert start == datetime(2023, 10, 1, 4, tzinfo=UTC)


@given(
    st.datetimes(timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))),
    st.sampled_from(ZONES),
)
def test_what_is_within_the_calendar_can_be_shown_in_every_zone(at: datetime, zone: str) -> None:
    if within_calendar(at):
        shown = to_wall(at.astimezone(UTC), zone)
        assert abs(from_wall(shown, zone) - at) <= timedelta(days=1)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_an_instant_that_no_clock_can_show_is_beyond_the_calendar(text: str) -> None:
    at = datetime.fromisoformat(text)
    assert not within_calendar(at)
    with pytest.raises(OverflowError):
        at.astimezone(UTC)


@pytest.mark.parametrize(
    ("cycle", "period", "fits"),
    [
        (("month", 1), ("month", 1), True),
        (("month", 1), ("year", 1), True),
        (("month", 12), ("year", 1), True),
        (("month", 13), ("year", 1), False),
        (("week", 4), ("month", 1), True),
        (("month", 2), ("month", 3), False),
        (("day", 29), ("month", 1), False),
        (("month", 1), ("day", 62), False),
        (("year", 1), ("day", 365), False),
        (("week", 1), ("day", 7), True),
        (("week", 1), ("day", 10), False),
        (("month", 1), ("week", 1), False),
    ],
)
def test_a_period_is_a_whole_number_of_its_cycles(
    cycle: tuple[Unit, int], period: tuple[Unit, int], fits: bool
) -> None:
    inner, outer = (Interval(unit=unit, count=count) for unit, count in (cycle, period))
    assert inner.fits_into(outer) is fits


def test_intervals_of_different_units_are_compared_by_their_average_length() -> None:
    rising: list[tuple[Unit, int]] = [
        ("week", 4), ("day", 30), ("month", 1), ("day", 31), ("week", 52), ("day", 365),
        ("year", 1), ("day", 366),
    ]  # fmt: skip
    days = [Interval(unit=unit, count=count).average_days for unit, count in rising]
    assert days == sorted(set(days))
    assert Interval(unit="month", count=12).average_days == Interval(unit="year").average_days


MONTHLY: Final = st.sampled_from(
    [Interval(unit=unit, count=count) for unit in ("month", "year") for count in (1, 2, 3)]
)
WALLS: Final = st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1))  # noqa: DTZ001


@given(st.integers(1, 31), WALLS, MONTHLY)
def test_a_billing_day_is_the_next_such_day_and_every_one_after_it(
    day: int, wall: datetime, interval: Interval
) -> None:
    anchor, number = anchor_on(day, wall, interval)
    begins = to_wall(boundary(anchor, "UTC", interval, number), "UTC")
    days = [wall + timedelta(days=more) for more in range(32)]
    assert begins == next(one for one in days if one.day == _clamped(day, one))
    for later in range(number, number + 30):
        at = to_wall(boundary(anchor, "UTC", interval, later), "UTC")
        assert (at.day, at.time()) == (_clamped(day, at), wall.time())


def _clamped(day: int, at: datetime) -> int:
    return min(day, monthrange(at.year, at.month)[1])


@given(WALLS, st.builds(Interval, unit=st.sampled_from(get_args(Unit)), count=st.integers(1, 4)))
def test_a_period_may_start_at_any_time_and_those_after_it_keep_its_day(
    wall: datetime, interval: Interval
) -> None:
    anchor, number = anchor_for(wall, interval)
    assert boundary(anchor, "UTC", interval, number) == wall.replace(tzinfo=UTC)
    assert anchor < wall
    assert anchor.day == wall.day or interval.unit in ("day", "week")


@given(
    st.integers(1, 31),
    WALLS,
    st.sampled_from(("day", "week")),
    st.integers(1, 6),
)
def test_weeks_start_at_their_time_and_keep_a_day_of_the_month(
    day: int, wall: datetime, unit: Unit, count: int
) -> None:
    interval = Interval(unit=unit, count=count)
    anchor, number = anchor_of_days(day, wall, interval)
    assert boundary(anchor, "UTC", interval, number) == wall.replace(tzinfo=UTC)
    assert anchor.day == day
