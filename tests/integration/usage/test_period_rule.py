"""Periods that the database begins by itself are those of billing.core.periods, to the instant."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final, Literal, get_args
from uuid import uuid4

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing.core.periods import (
    MONTH,
    Interval,
    Unit,
    boundary,
    from_wall,
    index_at,
    month_of,
    to_wall,
)
from billing.metering.quotas.rules import window_end
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.periods import shares, spans
from billing.money.subscriptions.periods.spans import next_boundary
from billing.money.subscriptions.schemas import Subscription
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.searching import examples

LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
ZONES: Final = (
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns",
    "America/Santiago", "America/Havana", "Africa/Casablanca", "Asia/Kolkata",
    "Australia/Lord_Howe", "Pacific/Chatham",
)  # fmt: skip
WALLS: Final = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31))  # noqa: DTZ001
NEXT: Final = text("SELECT usage_cycle_end(:id, :at), usage_cycle_part(:id, :at)")
HALF_PAST_TWO: Final = datetime(2026, 1, 25, 2, 30)  # noqa: DTZ001


@settings(max_examples=examples(150))
@given(
    anchor=WALLS,
    zone=st.sampled_from(ZONES),
    unit=st.sampled_from(get_args(Unit)),
    count=st.integers(1, 14),
    at=WALLS.map(lambda wall: wall.replace(tzinfo=UTC)),
)
@example(HALF_PAST_TWO, "Europe/Berlin", "month", 1, datetime(2026, 10, 1, tzinfo=UTC))
@example(HALF_PAST_TWO, "Europe/Berlin", "day", 7, datetime(2026, 3, 28, tzinfo=UTC))
def test_the_database_counts_periods_as_the_rules_do(
    plain: psycopg.Connection[Any],
    anchor: datetime,
    zone: str,
    unit: Unit,
    count: int,
    at: datetime,
) -> None:
    row = plain.execute(
        "SELECT usage_boundary(%s, %s, %s, %s, %s)", [anchor, zone, unit, count, at]
    ).fetchone()
    assert row is not None
    every = Interval(unit=unit, count=count)
    assert row[0] == next_boundary(anchor, zone, every, at, LAST)
    before = at - timedelta(microseconds=1)
    if before >= from_wall(anchor, zone):
        number = index_at(anchor, zone, every, before)
        whole = boundary(anchor, zone, every, number + 1) - boundary(anchor, zone, every, number)
        row = plain.execute(
            "SELECT usage_cycle_seconds(%s, %s, %s, %s, %s, %s)",
            [anchor, zone, unit, count, None, at],
        ).fetchone()
        assert row is not None
        assert row[0] == whole.total_seconds()


@settings(max_examples=examples(150))
@given(at=WALLS.map(lambda wall: wall.replace(tzinfo=UTC)), zone=st.sampled_from(ZONES))
# Of the midnight that comes twice there the first counts, and the one that is skipped moves on.
@example(datetime(2026, 11, 1, 4, 30, tzinfo=UTC), "America/Havana")
@example(datetime(2026, 11, 1, 5, 30, tzinfo=UTC), "America/Havana")
@example(datetime(2026, 10, 15, tzinfo=UTC), "America/Havana")
@example(datetime(2023, 10, 15, tzinfo=UTC), "America/Asuncion")
def test_the_database_has_the_months_of_the_rules(
    plain: psycopg.Connection[Any], at: datetime, zone: str
) -> None:
    row = plain.execute("SELECT start_at, end_at FROM usage_month(%s, %s)", [zone, at]).fetchone()
    start, end = month_of(at, zone)
    assert row == (start, end)
    assert start <= at < end


@settings(max_examples=examples(100))
@given(
    at=WALLS.map(lambda wall: wall.replace(tzinfo=UTC)),
    zone=st.sampled_from(ZONES),
    kind=st.sampled_from(("day", "month")),
)
@example(datetime(2026, 9, 6, 12, tzinfo=UTC), "America/Santiago", "day")
@example(datetime(2023, 10, 15, tzinfo=UTC), "America/Asuncion", "month")
def test_the_windows_of_quotas_end_where_the_next_ones_begin(
    plain: psycopg.Connection[Any], at: datetime, zone: str, kind: Literal["day", "month"]
) -> None:
    def ask(call: str, *values: Any) -> Any:
        row = plain.execute(f"SELECT {call}", [kind, *values]).fetchone()
        assert row is not None
        return row[0]

    def begin(of: datetime) -> Any:
        return ask("quota_window(%s, NULL, %s, NULL, %s)", zone, of)

    start = begin(at)
    end = ask("quota_window_end(%s, %s, %s)", zone, start)
    assert end == window_end(kind, start, None, zone, LAST, at)
    assert begin(end - timedelta(microseconds=1)) == start < end <= begin(end)


async def test_cycles_that_nobody_began_yet_are_counted_from_the_31st(new_shop: NewShop) -> None:
    shop = await new_shop("10", is_test=True, clock_at="2027-04-10T00:00:00Z")
    await shop.subscribe(
        "basic", start=datetime(2027, 1, 31, tzinfo=UTC), end=datetime(2027, 2, 28, tzinfo=UTC)
    )
    await shop.record("1")
    ((start, end),) = await shop.rows(
        "SELECT start_at, end_at FROM usage_periods JOIN credit_balances b ON b.period_id = id"
        " WHERE b.account_id = :id"
    )
    assert (start.astimezone(UTC), end.astimezone(UTC)) == (
        datetime(2027, 3, 31, tzinfo=UTC), datetime(2027, 4, 30, tzinfo=UTC),
    )  # fmt: skip


async def test_an_end_at_a_date_cuts_the_cycle_that_nobody_began_yet(new_shop: NewShop) -> None:
    begins, ends = datetime(2027, 1, 31, tzinfo=UTC), datetime(2027, 2, 28, tzinfo=UTC)
    shop = await new_shop("10", is_test=True, clock_at="2027-02-01T00:00:00Z")
    await shop.subscribe("basic", start=begins, end=ends)
    cut = datetime(2027, 4, 10, tzinfo=UTC)
    assert await _cycles(shop, 2, MONTH, cancel_at=cut) == [("03-31", 1), ("04-10", Fraction(1, 3))]


async def test_an_end_at_a_date_cuts_no_cycle_of_a_period_that_has_begun(
    new_shop: NewShop,
) -> None:
    begins, ends = datetime(2027, 1, 31, tzinfo=UTC), datetime(2028, 1, 31, tzinfo=UTC)
    shop = await new_shop("10", is_test=True, clock_at="2027-02-01T00:00:00Z")
    await shop.subscribe("basic", start=begins, end=ends)
    cycles = await _cycles(
        shop, 2, MONTH, interval_unit="year", cycle_end=datetime(2027, 2, 28, tzinfo=UTC),
        cancel_at=datetime(2027, 4, 10, tzinfo=UTC),
    )  # fmt: skip
    assert cycles == [("03-31", Fraction(1)), ("04-30", Fraction(1))]


async def test_a_cycle_from_the_second_of_a_repeated_hour_is_whole(new_shop: NewShop) -> None:
    begins = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    first = spans.first(begins, "Europe/Berlin", MONTH, None, None, MONTH)
    shop = await new_shop("10", is_test=True, clock_at=begins.isoformat())
    await shop.subscribe("basic", start=begins, end=first["current_period_end"])
    async with shop.api.database.operator() as connection:
        row = await subscriptions.find_open(connection, shop.id)
        assert row is not None
        await subscriptions.change(connection, row.id, **first, created_at=begins)
        counted = await connection.execute(NEXT, {"id": row.id, "at": begins})
        assert tuple(counted.one()) == (first["cycle_end"], 1)


async def test_cycles_of_a_trial_are_counted_by_the_database_as_by_the_rules(
    new_shop: NewShop,
) -> None:
    """And those of the short period behind it that a billing day ends, and those after that."""
    begins, ends = datetime(2027, 1, 31, 9, tzinfo=UTC), datetime(2027, 4, 10, 9, tzinfo=UTC)
    shop = await new_shop("10", is_test=True, clock_at="2027-02-01T00:00:00Z")
    await shop.subscribe("basic", start=begins, end=ends)
    cycles = await _cycles(
        shop, 6, MONTH, status="trialing", trial_end=ends, period_number=-2,
        anchor_wall=datetime(2027, 4, 20, 9),  # noqa: DTZ001
        cycle_end=datetime(2027, 2, 28, 9, tzinfo=UTC),
    )  # fmt: skip
    assert cycles == [
        ("03-31", 1), ("04-10", Fraction(10, 30)), ("04-20", Fraction(10, 31)), ("05-20", 1),
        ("06-20", 1), ("07-20", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "day", "begins", "cut", "cycles"),
    [
        # The last week of whole ones has 169 hours, for summer time ends in it.
        ("week", 1, "10-02", None, [("10-16", 1), ("10-23", 1), ("10-30", 1),
         ("11-01", Fraction(49, 169)), ("11-08", 1)]),
        ("week", 1, "10-02", "10-20", [("10-16", 1), ("10-20", Fraction(4, 7)),
         ("10-23", Fraction(3, 7)), ("10-30", 1), ("11-01", Fraction(49, 169)), ("11-08", 1)]),
        ("day", 31, "10-28", None, [("10-30", 1), ("10-31", 1), ("11-01", 1)]),
        # No month before it has a 31st: the anchor is one that is past.
        ("week", 31, "02-10", None, [("02-24", 1), ("02-28", Fraction(4, 7)), ("03-07", 1)]),
    ],
)  # fmt: skip
async def test_whole_cycles_before_a_billing_day_are_counted_from_the_beginning(
    new_shop: NewShop,
    unit: Unit,
    day: int,
    begins: str,
    cut: str | None,
    cycles: list[tuple[str, Fraction]],
) -> None:
    """An end at a date that was taken back cuts one of them in two."""
    zone, plan = "Europe/Berlin", f"each-{uuid4().hex[:8]}"
    start = from_wall(datetime.fromisoformat(f"2027-{begins}T09:00"), zone)
    anchor, number = spans.anchored(start, zone, MONTH, day)
    end = boundary(anchor, zone, MONTH, number + 1)
    if cut is not None:
        end = from_wall(datetime.fromisoformat(f"2027-{cut}T09:00"), zone)
    shop = await new_shop("10", is_test=True, clock_at=start.isoformat())
    body = {"name": plan, "family": plan, "allowance": unit, "prices": {"month": {"USD": 3100}}}
    answer = await shop.api.client.put(
        f"{V1}/admin/plans/{plan}", json=body | {"limits": []}, headers=shop.api.admin()
    )
    assert answer.status_code == 200, answer.text
    await shop.subscribe(plan, start=start, end=end)
    every = Interval(unit=unit)
    counted = await _cycles(
        shop, len(cycles), every, zone=zone, created_at=start, anchor_wall=anchor,
        period_number=number, cycle_end=boundary(to_wall(start, zone), zone, every, 1),
    )  # fmt: skip
    assert counted == cycles


async def _cycles(
    shop: Shop, many: int, allowance: Interval, **fields: Any
) -> list[tuple[str, Fraction]]:
    """The days on which the next cycles end, and their parts of whole ones: by the rules, and the
    same by the database.
    """
    found = []
    async with shop.api.database.operator() as connection:
        row = await subscriptions.find_open(connection, shop.id)
        assert row is not None
        row = await subscriptions.change(connection, row.id, **fields)
        for _ in range(many):
            row = _next_cycle(row, allowance)
            counted = await connection.execute(NEXT, {"id": row.id, "at": row.cycle_start})
            until, part = counted.one()
            by_rules = shares.of_cycle(row, allowance)
            assert until == row.cycle_end
            assert float(part) == pytest.approx(float(by_rules))
            found.append((f"{to_wall(until, row.zone):%m-%d}", by_rules))
    return found


def _next_cycle(row: Subscription, allowance: Interval) -> Subscription:
    """As the step of the next cycle, or of the next period, begins it."""
    start, begun, end = row.cycle_end, dict[str, object](), row.current_period_end
    if start == end:
        number, end = spans.next_period(row)
        begun = {"current_period_start": start, "current_period_end": end, "status": "active"}
        begun["period_number"] = number
    until = spans.cycle_end(row, allowance, start, end)
    return row.model_copy(update=begun | {"cycle_start": start, "cycle_end": until})
