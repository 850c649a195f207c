"""The job `ensure-running`: what fails behind its pass does not repeat the pass."""

from typing import Any, cast

import pytest

from activities import earlier_release, missing_runs
from activities.dependencies import Dependencies
from activities.paged_scan import Undone
from activities.scheduled_jobs import ScheduledJobs

NOTHING = cast(Any, None)


async def test_what_the_release_before_left_waits_for_the_next_day_if_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def passed(*_: object) -> dict[str, int]:
        return {"open": 3}

    async def undone(_: object) -> dict[str, int]:
        raise Undone("not done: forgotten_watched (DBAPIError)")

    monkeypatch.setattr(missing_runs, "begin", passed)
    monkeypatch.setattr(earlier_release, "make_up", undone)
    parts = Dependencies(database=NOTHING, provider=NOTHING, settings=NOTHING)
    job = ScheduledJobs(parts, NOTHING).jobs["ensure-running"]
    assert await job(1) == {"open": 3, "not_made_up": 1}
