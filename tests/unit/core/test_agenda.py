"""The head of an agenda; after an outage late steps never come in a burst."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.plans.schemas import DunningPolicy
from billing.matters.agenda import Step, head
from billing.money.dunning.rules import (
    FINAL_ACTION_GAP,
    Case,
    final_action_due,
    final_due,
    slot_due,
)

START: Final = datetime(2027, 3, 14, 9, 0, tzinfo=UTC)

instants = st.datetimes(
    min_value=datetime.fromisoformat("2027-01-01"),
    max_value=datetime.fromisoformat("2028-01-01"),
    timezones=st.just(UTC),
)
schedules = st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True).map(
    lambda days: (0, *sorted(days))
)
# Times at which no worker runs: (hours after the start, hours long).
outages = st.lists(st.tuples(st.integers(0, 1_200), st.integers(1, 400)), max_size=6)


def step(name: str, due: datetime) -> Step:
    return Step(name=name, due=due, key=name)


def due_of(days: Sequence[int], slot: int, last: int, ran_at: datetime) -> datetime:
    return slot_due(_case(days, last, ran_at), slot)


def _case(days: Sequence[int], last: int, ran_at: datetime) -> Case:
    return Case(
        status="open",
        policy=DunningPolicy(days=tuple(days)),
        zone="UTC",
        day_zero_at=START,
        last_slot=last,
        last_slot_ran_at=ran_at,
        last_true_attempt_at=ran_at,
    )


def next_up(due: datetime, away: list[tuple[int, int]]) -> datetime:
    """Instant at which a worker does a due step: at once, or after the outage it falls into."""
    for begins, lasts in sorted(away):
        down = START + timedelta(hours=begins)
        up = down + timedelta(hours=lasts)
        if down <= due < up:
            due = up
    return due


def walk(days: Sequence[int], away: list[tuple[int, int]]) -> list[datetime]:
    """Instants at which the slots truly ran, day 0 included."""
    ran = [next_up(START, away)]
    for slot in range(1, len(days)):
        ran.append(next_up(due_of(days, slot, slot - 1, ran[-1]), away))
    return ran


@given(st.lists(instants, min_size=1, max_size=20))
def test_the_earliest_step_is_done_first_and_of_equals_the_one_named_first(
    dues: list[datetime],
) -> None:
    steps = [step(f"step-{number}", due) for number, due in enumerate(dues)]
    assert head(steps) == steps[dues.index(min(dues))]


def test_a_step_whose_time_is_over_makes_way_for_the_next() -> None:
    begin = step("begin", START).model_copy(update={"until": START + timedelta(hours=1)})
    expire = step("expire", START + timedelta(hours=1))
    assert head([begin, expire], START + timedelta(minutes=59)) == begin
    assert head([begin, expire], START + timedelta(hours=1)) == expire
    assert head([begin], START + timedelta(hours=1)) is None


def test_nothing_to_do_has_no_first_step() -> None:
    assert head([]) is None


@given(days=schedules, away=outages)
def test_no_slot_runs_before_its_own_date(
    days: tuple[int, ...], away: list[tuple[int, int]]
) -> None:
    for day, ran_at in zip(days, walk(days, away), strict=True):
        assert ran_at >= START + timedelta(days=day)


@given(days=schedules, away=outages)
def test_slots_keep_their_distance_however_late_the_last_one_ran(
    days: tuple[int, ...], away: list[tuple[int, int]]
) -> None:
    ran = walk(days, away)
    for number in range(1, len(days)):
        gap = timedelta(days=days[number] - days[number - 1])
        assert ran[number] - ran[number - 1] >= gap


@given(days=schedules)
def test_without_an_outage_every_slot_runs_on_its_day(days: tuple[int, ...]) -> None:
    assert walk(days, []) == [START + timedelta(days=day) for day in days]


@given(days=schedules, away=outages)
def test_a_slot_waits_no_longer_than_date_and_distance_ask(
    days: tuple[int, ...], away: list[tuple[int, int]]
) -> None:
    ran = walk(days, away)
    for number in range(1, len(days)):
        gap = timedelta(days=days[number] - days[number - 1])
        wanted = max(START + timedelta(days=days[number]), ran[number - 1] + gap)
        assert ran[number] == next_up(wanted, away)


def test_eight_days_without_a_worker_end_in_one_attempt_not_three() -> None:
    # Down from hour 1 to day 8: the slots of day 3 and day 7 are both overdue when it is back.
    ran = walk((0, 3, 7), [(1, 8 * 24 - 1)])
    assert ran == [START, START + timedelta(days=8), START + timedelta(days=12)]


@given(schedules, outages, st.integers(0, 10))
def test_a_final_action_never_comes_within_a_day_of_the_last_true_attempt(
    days: tuple[int, ...], away: list[tuple[int, int]], grace: int
) -> None:
    last = walk(days, away)[-1]
    planned = START + timedelta(days=days[-1] + grace)
    due = final_action_due(planned, last)
    assert due >= last + timedelta(hours=24)
    assert due >= planned
    assert due in (planned, last + FINAL_ACTION_GAP)


@given(schedules, outages, st.integers(1, 10))
def test_dunning_ends_by_that_rule(
    days: tuple[int, ...], away: list[tuple[int, int]], grace: int
) -> None:
    last = walk(days, away)[-1]
    case = _case(days, len(days) - 1, last)
    case = case.model_copy(update={"policy": DunningPolicy(days=days, grace_days=grace)})
    assert final_due(case) == final_action_due(START + timedelta(days=days[-1] + grace), last)
