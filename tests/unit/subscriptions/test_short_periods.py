"""A first period that a billing day makes short, and its cycles, where its end moves."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import pytest

from billing.core.periods import MONTH, Interval, boundary
from billing.money.subscriptions.periods import added_days, shares, spans
from billing.money.subscriptions.schemas import Subscription

WEEK: Final = Interval(unit="week")
YEAR: Final = Interval(unit="year")


def at(month: int, day: int) -> datetime:
    return datetime(2027, month, day, 10, tzinfo=UTC)


def short(begins: datetime, billing_day: int, **more: Any) -> Subscription:
    """A subscription by the month from then on, with cycles of weeks."""
    anchor, number = spans.anchored(begins, "UTC", MONTH, billing_day)
    known: dict[str, Any] = {
        "id": UUID(int=1), "account_id": UUID(int=2), "plan_id": UUID(int=3), "plan_key": "weeks",
        "price_id": UUID(int=4), "currency": "USD", "amount_minor": 3100, "interval_unit": "month",
        "interval_count": 1, "status": "active", "zone": "UTC", "anchor_wall": anchor,
        "period_number": number, "current_period_start": begins, "cycle_start": begins,
        "current_period_end": boundary(anchor, "UTC", MONTH, number + 1),
        "created_at": begins, "updated_at": begins,
    }  # fmt: skip
    return Subscription(**known | more)


@pytest.mark.parametrize(
    ("begins", "billing_day", "interval", "ends"),
    [
        (at(4, 30), 31, MONTH, [(5, 31), (6, 30), (7, 31)]),
        (at(2, 28), 31, MONTH, [(3, 31), (4, 30), (5, 31)]),
        (at(2, 28), 29, YEAR, [(3, 29), (4, 29), (5, 29)]),
        (at(9, 30), 30, MONTH, [(10, 30), (11, 30), (12, 30)]),
    ],
)
def test_a_period_that_begins_on_the_last_day_before_its_billing_day_is_whole_with_its_cycle(
    begins: datetime, billing_day: int, interval: Interval, ends: list[tuple[int, int]]
) -> None:
    first = spans.first(begins, "UTC", interval, billing_day, None, MONTH)
    period = short(begins, billing_day, **first | {"interval_unit": interval.unit})
    found = []
    for _ in ends:
        assert _parts(period, MONTH) == (Fraction(1), Fraction(1))
        found.append(period.cycle_end)
        period = _next_cycle(period)
    assert found == [at(*one) for one in ends]


def _parts(s: Subscription, allowance: Interval) -> tuple[Fraction, Fraction]:
    """The parts of a whole period and of a whole cycle that the current ones are."""
    return shares.rest_of_period(s, s.current_period_start), shares.of_cycle(s, allowance)


def _next_cycle(s: Subscription) -> Subscription:
    """As the step of the next cycle, or of the next period, begins it."""
    start, end, begun = s.cycle_end, s.current_period_end, dict[str, Any]()
    if start == end:
        number, end = spans.next_period(s)
        begun = {"period_number": number, "current_period_start": start, "current_period_end": end}
    until = spans.cycle_end(s, MONTH, start, end)
    return s.model_copy(update=begun | {"cycle_start": start, "cycle_end": until})


def test_a_cycle_that_an_end_cuts_is_a_part_of_the_one_that_is_counted_from_the_beginning() -> None:
    cut = at(10, 20)
    before = short(at(10, 2), 1, cycle_start=at(10, 9), cycle_end=at(10, 16), cancel_at=cut)
    moved = {"cycle_start": at(10, 16), "cycle_end": cut, "current_period_end": cut}
    after = before.model_copy(update=moved)
    assert spans.cut_cycle(before, after, WEEK)["cycle_whole_end"] == at(10, 23)


def test_days_that_are_given_leave_the_cycles_of_a_short_period_whole() -> None:
    first = short(at(2, 10), 21, cycle_end=at(2, 17))
    later = added_days.extended(first, 3, WEEK)
    assert (later.current_period_end, later.cycle_end) == (at(2, 24), at(2, 17))
    assert spans.cycle_end(later, WEEK, at(2, 17), later.current_period_end) == at(2, 24)


def test_days_that_are_given_to_a_period_that_an_end_had_cut_leave_its_rest() -> None:
    """Of the month from 1 February; the whole one ends so many days later, too."""
    cut = at(2, 10)
    piece = short(
        at(1, 1), 1, current_period_start=at(2, 1), current_period_end=cut, cycle_start=at(2, 1),
        cycle_end=cut, period_number=1, cycle_whole_end=at(3, 1),
        anchor_wall=datetime(2027, 1, 1, 10),  # noqa: DTZ001
    )  # fmt: skip
    later = added_days.extended(piece, 3, MONTH)
    assert (later.current_period_end, later.cycle_end) == (at(2, 13), at(2, 13))
    assert spans.cut_cycle(piece, later, MONTH)["cycle_whole_end"] == at(3, 4)
    assert spans.next_period(later) == (later.period_number, at(3, 4))
    rest = _next_cycle(later)
    assert _parts(rest, MONTH) == (Fraction(19, 28), Fraction(19, 28))
    assert _next_cycle(rest).current_period_end == at(4, 4)


@pytest.mark.parametrize(("billing_day", "first_end"), [(31, at(3, 3)), (8, at(3, 11))])
def test_days_that_are_given_in_a_trial_move_its_billing_day_through_weeks(
    billing_day: int, first_end: datetime
) -> None:
    """As they move it where the trial's periods are of months all the time."""
    ends = at(2, 8)
    anchor, number = spans.anchored(ends, "UTC", MONTH, billing_day)
    trial = short(
        at(1, 25), billing_day, status="trialing", trial_end=ends, current_period_end=ends,
        cycle_end=at(2, 1), anchor_wall=anchor, period_number=number - 1,
    )  # fmt: skip
    assert spans.next_period(added_days.extended(trial, 3, WEEK))[1] == first_end
    weeks = added_days.extended(_counted_by(trial, WEEK), 3, WEEK)
    assert spans.next_period(weeks)[1] == at(2, 18), "a whole week"
    assert spans.next_period(_counted_by(weeks, MONTH))[1] == first_end


def _counted_by(s: Subscription, interval: Interval) -> Subscription:
    unit = {"interval_unit": interval.unit}
    return s.model_copy(update=spans.after_this(s, interval) | unit)


def test_a_period_from_the_second_of_a_repeated_hour_is_whole_with_its_cycle() -> None:
    begins, zone = datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Europe/Berlin"
    first = short(begins, 25, **spans.first(begins, zone, MONTH, None, None, MONTH))
    for period, allowance in ((first, MONTH), (spans.anew(first, begins, YEAR, WEEK), WEEK)):
        assert _parts(period, allowance) == (Fraction(1), Fraction(1))
    cut = first.model_copy(update={"current_period_end": datetime(2026, 11, 10, 2, tzinfo=UTC)})
    whole = int((first.current_period_end - begins).total_seconds())
    left = int((cut.current_period_end - begins).total_seconds())
    assert shares.rest_of_period(cut, begins) == Fraction(left, whole)
