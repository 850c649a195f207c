"""However small the pool is, what lasts long, such as the passes, keeps nobody waiting."""

from types import SimpleNamespace
from typing import Any

import pytest

import worker
from activities.clock import WALKS
from billing.core.settings import Settings
from billing.matters.kinds import BACKGROUND, INTERACTIVE
from worker import COMPARISONS, MAX_STEPS, steps_at_once, tasks_at_once
from workflows.schedules import PASSES


@pytest.mark.parametrize("pool_size", [1, 2, 5, 8, 10, 12, 19, 20, 100])
def test_with_all_that_lasts_long_under_way_there_is_room_for_each_step(pool_size: int) -> None:
    steps, at_once = steps_at_once(BACKGROUND, pool_size)
    assert at_once - len(PASSES) - WALKS - COMPARISONS == steps >= 1
    assert steps <= MAX_STEPS[BACKGROUND]
    waited_for, its_activities = steps_at_once(INTERACTIVE, pool_size)
    assert waited_for == its_activities >= 1


def test_timers_due_at_once_wait_at_the_server_and_nobody_waits_behind_them() -> None:
    steps, _ = steps_at_once(BACKGROUND, 20)
    assert steps < (tasks_at_once(BACKGROUND, steps) or 0) < 100
    assert tasks_at_once(INTERACTIVE, 12) is None


def test_every_step_of_a_worker_has_a_connection() -> None:
    for size in range(2, 40):
        found = [steps_at_once(queue, size)[0] for queue in MAX_STEPS]
        assert sum(found) <= size, f"{found} steps on {size} connections"
        assert min(found) >= 1
    assert {queue: steps_at_once(queue, 20)[0] for queue in MAX_STEPS} == MAX_STEPS, "as delivered"


def test_an_activity_is_any_workers_also_where_the_server_gives_it_to_who_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that a worker with a slow clock has refused too often came back to it."""
    monkeypatch.setattr(worker, "Worker", lambda _, **options: SimpleNamespace(**options))
    nothing: Any = None
    built: Any = worker.build_worker(nothing, BACKGROUND, [], Settings(), nothing)
    assert built.disable_eager_activity_execution is True
