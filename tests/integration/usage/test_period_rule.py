"""Periods that the database begins by itself are those of billing.core.periods, to the instant."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing.core.periods import MONTH, Interval, Unit, boundary, from_wall, index_at
from billing.money.subscriptions import spans
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.rules import cycle_bounds
from billing.money.subscriptions.schemas import Subscription
from devstack.stack import StackInfo
from tests.integration.usage.conftest import NewShop
from tests.searching import examples

LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
ZONES: Final = (
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns",
    "America/Santiago", "Africa/Casablanca", "Asia/Kolkata", "Australia/Lord_Howe",
    "Pacific/Chatham",
)  # fmt: skip
WALLS: Final = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31))  # noqa: DTZ001
NEXT: Final = text("SELECT usage_cycle_end(:id, :at), usage_cycle_part(:id, :at)")
HALF_PAST_TWO: Final = datetime(2026, 1, 25, 2, 30)  # noqa: DTZ001


@pytest.fixture(scope="module")
def database(stack: StackInfo) -> Iterator[psycopg.Connection[Any]]:
    url = stack.app_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


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
    database: psycopg.Connection[Any],
    anchor: datetime,
    zone: str,
    unit: Unit,
    count: int,
    at: datetime,
) -> None:
    row = database.execute(
        "SELECT usage_boundary(%s, %s, %s, %s, %s)", [anchor, zone, unit, count, at]
    ).fetchone()
    assert row is not None
    every = Interval(unit=unit, count=count)
    assert row[0] == cycle_bounds(anchor, zone, every, at, LAST)
    before = at - timedelta(microseconds=1)
    if before >= from_wall(anchor, zone):
        number = index_at(anchor, zone, every, before)
        whole = boundary(anchor, zone, every, number + 1) - boundary(anchor, zone, every, number)
        row = database.execute(
            "SELECT usage_cycle_seconds(%s, %s, %s, %s, %s)", [anchor, zone, unit, count, at]
        ).fetchone()
        assert row is not None
        assert row[0] == whole.total_seconds()


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


@pytest.mark.parametrize("status", ["trialing", "active"])
async def test_cycles_before_the_anchor_are_counted_by_the_database_as_by_the_rules(
    new_shop: NewShop, status: str
) -> None:
    """Those of a trial, those of a short period that a billing day ends, and those after it."""
    begins, ends = datetime(2027, 1, 31, 9, tzinfo=UTC), datetime(2027, 4, 10, 9, tzinfo=UTC)
    shop = await new_shop("10", is_test=True, clock_at="2027-02-01T00:00:00Z")
    await shop.subscribe("basic", start=begins, end=ends)
    async with shop.api.database.operator() as connection:
        found = await subscriptions.find_open(connection, shop.id)
        assert found is not None
        anchor = datetime(2027, 4, 20, 9)  # noqa: DTZ001
        row = await subscriptions.change(
            connection, found.id, status=status, anchor_wall=anchor, period_number=-2,
            cycle_end=datetime(2027, 2, 28, 9, tzinfo=UTC),
        )  # fmt: skip
        ends_of_cycles = []
        for _ in range(6):
            row = _next_cycle(row)
            counted = await connection.execute(NEXT, {"id": row.id, "at": row.cycle_start})
            until, part = counted.one()
            assert until == row.cycle_end
            assert float(part) == pytest.approx(float(spans.parts(row, MONTH).cycle))
            ends_of_cycles.append(f"{until:%m-%d}")
    assert ends_of_cycles == ["03-31", "04-10", "04-20", "05-20", "06-20", "07-20"]


def _next_cycle(row: Subscription) -> Subscription:
    """As the step of the next cycle, or of the next period, begins it."""
    start, begun, end = row.cycle_end, dict[str, object](), row.current_period_end
    if start == end:
        number, end = spans.next_period(row)
        begun = {"current_period_start": start, "current_period_end": end, "status": "active"}
        begun["period_number"] = number
    until = spans.cycle_end(row, MONTH, start, end)
    return row.model_copy(update=begun | {"cycle_start": start, "cycle_end": until})
