"""Slots run never before their day, never bunched up, at the hour the customer lives by."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.plans.schemas import DunningPolicy
from billing.money.dunning.rules import Case, coming_due, final_due, postponed, slot_due

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
instants = st.timedeltas(timedelta(0), timedelta(days=1500)).map(lambda later: START + later)
schedules = st.sets(st.integers(1, 40), max_size=5).map(lambda days: (0, *sorted(days)))
hours = st.none() | st.integers(0, 23)
lateness = st.lists(st.timedeltas(timedelta(0), timedelta(days=20)), min_size=6, max_size=6)


def opened(zero: datetime, days: Sequence[int], zone: str, hour: int | None, **more: Any) -> Case:
    known: dict[str, Any] = {
        "status": "open",
        "policy": DunningPolicy(days=tuple(days), hour=hour),
        "zone": zone,
        "day_zero_at": zero,
        "last_slot": 0,
        "last_slot_ran_at": zero,
        "last_true_attempt_at": zero,
        "ends_by_slots": True,
    }
    return Case(**known | more)


def walk(case: Case, late: Sequence[timedelta]) -> list[datetime]:
    """Instants at which the slots truly ran, each so much later than it was due."""
    ran = [case.last_slot_ran_at]
    for slot in range(1, len(case.policy.days)):
        at = slot_due(case, slot) + late[slot]
        ran.append(at)
        case = case.model_copy(update={"last_slot": slot, "last_slot_ran_at": at})
    return ran


@given(instants, schedules, st.sampled_from(ZONES), hours)
def test_on_time_each_slot_runs_on_its_calendar_day_at_its_hour(
    zero: datetime, days: tuple[int, ...], zone: str, hour: int | None
) -> None:
    place = ZoneInfo(zone)
    start = zero.astimezone(place)
    for day, ran in zip(
        days, walk(opened(zero, days, zone, hour), [timedelta(0)] * 6), strict=True
    ):
        wall = ran.astimezone(place)
        assert wall.date() == start.date() + timedelta(days=day)
        if day and hour is not None:
            # A time that the clock skips is pushed on by the gap.
            assert wall.hour in (hour, hour + 1)
        elif ran != zero:
            shift = abs((wall.utcoffset() or timedelta(0)) - (start.utcoffset() or timedelta(0)))
            off = abs(ran - zero - timedelta(days=day))
            assert off <= shift + timedelta(hours=1)


@given(instants, schedules, st.sampled_from(ZONES), hours, lateness)
def test_late_slots_keep_the_gaps_that_were_planned(
    zero: datetime,
    days: tuple[int, ...],
    zone: str,
    hour: int | None,
    late: list[timedelta],
) -> None:
    case = opened(zero, days, zone, hour)
    planned = walk(case, [timedelta(0)] * 6)
    ran = walk(case, late)
    for slot in range(1, len(days)):
        assert ran[slot] >= planned[slot], "never before its own date"
        assert ran[slot] - ran[slot - 1] >= planned[slot] - planned[slot - 1], "never bunched up"


@given(instants, schedules, st.sampled_from(ZONES), hours)
def test_an_outage_of_eight_days_ends_in_one_try(
    zero: datetime, days: tuple[int, ...], zone: str, hour: int | None
) -> None:
    """The worker was away from an hour after day 0 until day 8: one slot at most is due then."""
    case = opened(zero, days, zone, hour)
    back = zero + timedelta(days=8)
    due_then = 0
    for slot in range(1, len(days)):
        due = slot_due(case, slot)
        if due > back:
            break
        due_then += 1
        case = case.model_copy(update={"last_slot": slot, "last_slot_ran_at": back})
    assert due_then <= 1


@given(instants, schedules, st.sampled_from(ZONES), hours, st.integers(1, 30), st.integers(1, 90))
def test_an_extension_moves_every_slot_to_come_and_the_end(
    zero: datetime, days: tuple[int, ...], zone: str, hour: int | None, grace: int, extended: int
) -> None:
    case = opened(zero, days, zone, hour)
    case = case.model_copy(update={"policy": DunningPolicy(days=days, hour=hour, grace_days=grace)})
    longer = case.model_copy(update={"extended_days": extended})
    moved = timedelta(days=extended)
    an_hour = timedelta(hours=2)  # the clocks may change in between
    for slot in range(1, len(days)):
        assert abs(slot_due(longer, slot) - slot_due(case, slot) - moved) <= an_hour
    assert abs(final_due(longer) - final_due(case) - moved) <= an_hour + timedelta(days=1)


@given(
    instants, schedules, st.sampled_from(ZONES), hours, st.data(),
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.timedeltas(timedelta(0), timedelta(days=30)),
)  # fmt: skip
def test_an_extension_moves_what_is_to_come_however_late_it_is(
    zero: datetime, days: tuple[int, ...], zone: str, hour: int | None, data: st.DataObject,
    late: timedelta, after: timedelta,
) -> None:  # fmt: skip
    last = data.draw(st.integers(0, len(days) - 1))
    ran = zero + timedelta(days=days[last]) + late
    case = opened(
        zero, days, zone, hour, last_slot=last, last_slot_ran_at=ran, last_true_attempt_at=ran
    )
    now, moved, an_hour = ran + after, timedelta(0), timedelta(hours=2)
    planned = coming_due(case)
    for given_days in (5, 2):
        case = case.model_copy(
            update={
                "extended_days": case.extended_days + given_days,
                "postponed_until": postponed(case, now, given_days),
            }
        )
        moved += timedelta(days=given_days)
        # What is overdue has its days from now on; the clocks may change in between.
        assert abs(coming_due(case) - max(planned, now) - moved) <= an_hour


@given(instants, schedules, st.integers(1, 30), st.timedeltas(timedelta(0), timedelta(days=99)))
def test_the_end_never_comes_within_a_day_of_the_last_slot(
    zero: datetime, days: tuple[int, ...], grace: int, after: timedelta
) -> None:
    last = zero + after
    case = opened(
        zero, days, "UTC", None,
        last_slot=len(days) - 1, last_slot_ran_at=last, last_true_attempt_at=last,
    )  # fmt: skip
    case = case.model_copy(update={"policy": DunningPolicy(days=days, grace_days=grace)})
    planned = zero + timedelta(days=days[-1] + grace)
    assert final_due(case) == max(planned, last + timedelta(hours=24))


@given(instants, schedules, st.integers(1, 30), st.timedeltas(timedelta(0), timedelta(days=99)))
def test_tries_that_somebody_asked_for_put_off_neither_a_slot_nor_the_end(
    zero: datetime, days: tuple[int, ...], grace: int, after: timedelta
) -> None:
    case = opened(zero, days, "UTC", None)
    case = case.model_copy(update={"policy": DunningPolicy(days=days, grace_days=grace)})
    asked = case.model_copy(update={"last_true_attempt_at": zero + after})
    assert final_due(asked) == final_due(case)
    for slot in range(1, len(days)):
        assert slot_due(asked, slot) == slot_due(case, slot)


def test_a_state_that_the_release_before_wrote_ends_as_that_release_planned() -> None:
    """A history of it has a timer where today's rule has the final action."""
    case = opened(START, (0, 3, 7), "UTC", None, last_slot=2, last_slot_ran_at=START + 7 * DAY)
    tried = case.model_copy(update={"last_true_attempt_at": START + 7 * DAY + 20 * HOUR})
    written = tried.model_dump(mode="json", exclude={"ends_by_slots"})
    assert final_due(tried) == START + 8 * DAY
    assert final_due(Case.model_validate(written)) == START + 8 * DAY + 20 * HOUR


@pytest.mark.parametrize("hour", [0, 9, 20, 23])
def test_an_hour_before_the_renewals_own_is_kept(hour: int) -> None:
    """The gap is counted between planned times, so that an early hour is not pushed late."""
    case = opened(datetime(2027, 2, 1, 19, 30, tzinfo=UTC), (0, 3, 7), "UTC", hour)
    assert walk(case, [timedelta(0)] * 6)[1:] == [
        datetime(2027, 2, 4, hour, tzinfo=UTC), datetime(2027, 2, 8, hour, tzinfo=UTC),
    ]  # fmt: skip


def test_a_slot_at_an_hour_that_does_not_exist_is_pushed_on() -> None:
    # 28 March 2027, 2:30 in Berlin does not exist; the slot of 2:00 becomes 3:00.
    case = opened(datetime(2027, 3, 25, 9, tzinfo=UTC), (0, 3), "Europe/Berlin", 2)
    assert slot_due(case, 1) == datetime(2027, 3, 28, 1, tzinfo=UTC)


def test_wall_time_is_kept_when_the_clocks_change() -> None:
    case = opened(datetime(2027, 3, 26, 9, tzinfo=UTC), (0, 3, 7), "Europe/Berlin", None)
    assert walk(case, [timedelta(0)] * 6)[1:] == [
        datetime(2027, 3, 29, 8, tzinfo=UTC), datetime(2027, 4, 2, 8, tzinfo=UTC),
    ]  # fmt: skip
