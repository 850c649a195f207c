"""A failed step is tried as often as any other matter's, and holds up none."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.matters.agenda import Step
from workflows import failed_steps
from workflows.failed_steps import FailedSteps
from workflows.policies import DEFAULT

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = [Step(name=name, due=START, key=name) for name in ("setup", "top_up")]


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> FailedSteps:
    monkeypatch.setattr(failed_steps, "POLICIES", DEFAULT)
    return FailedSteps()


def whole_round(failed: FailedSteps, now: datetime) -> datetime:
    """Fail at each try of a round, and return the time of the last one."""
    while not failed.add("setup", now, is_final=False):
        again = failed.next_try()
        assert again is not None
        failed.release_first()
        now = again
    return now


def test_a_lonely_step_is_tried_for_half_an_hour_and_then_each_hour(failed: FailedSteps) -> None:
    ended = whole_round(failed, START)
    assert timedelta(minutes=25) < ended - START < timedelta(minutes=35)
    assert failed.tries("setup") == DEFAULT.round_tries
    assert failed.has_ended_round()
    later = ended + timedelta(hours=1)
    assert failed.next_try() == later
    failed.release_first()
    assert not failed.has_ended_round()
    whole_round(failed, later)
    assert failed.tries("setup") == 2 * DEFAULT.round_tries


def test_the_others_are_ready_meanwhile(failed: FailedSteps) -> None:
    failed.add("setup", START, is_final=False)
    assert failed.ready(PLAN) == PLAN[1:]
    failed.add("top_up", START - DEFAULT.first_retry, is_final=False)
    assert failed.ready(PLAN) == []
    failed.release_first()
    assert failed.ready(PLAN) == PLAN[1:], "the earlier one"
    failed.hurry()
    assert failed.ready(PLAN) == PLAN


def test_a_failure_that_no_repetition_helps_is_tried_once_more(failed: FailedSteps) -> None:
    assert not failed.add("setup", START, is_final=True)
    assert failed.add("setup", START, is_final=True)
    assert failed.has_ended_round()


def test_a_step_that_is_done_or_no_longer_planned_is_forgotten(failed: FailedSteps) -> None:
    failed.add("setup", START, is_final=False)
    failed.keep({"top_up"})
    assert not failed
    assert failed.tries("setup") == 0
