"""The schedules of jobs: made where they are missing, with the intervals of this release."""

from dataclasses import replace
from datetime import timedelta

from temporalio.client import ScheduleIntervalSpec, ScheduleUpdate, ScheduleUpdateInput

from tests.integration.actors import Actors, wait_for
from workflows.schedules import JOBS, ensure_schedules

JOB = "housekeeping"


async def test_a_schedule_gets_the_interval_of_the_release_and_stays_paused(
    actors: Actors,
) -> None:
    handle = actors.temporal.get_schedule_handle(f"billing-{JOB}")

    def older(known: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = known.description.schedule
        other = [ScheduleIntervalSpec(every=timedelta(days=7))]
        return ScheduleUpdate(
            schedule=replace(schedule, spec=replace(schedule.spec, intervals=other))
        )

    await handle.update(older)
    await handle.pause(note="by hand")

    async def is_paused() -> bool:
        return (await handle.describe()).schedule.state.paused

    await wait_for(is_paused, "the pause is known")
    try:
        assert await ensure_schedules(actors.temporal) == []

        async def is_renewed() -> bool:
            there = (await handle.describe()).schedule
            return [one.every for one in there.spec.intervals] == [JOBS[JOB]]

        await wait_for(is_renewed, "the interval is that of the release")
        found = (await handle.describe()).schedule
        assert (found.state.paused, found.state.note) == (True, "by hand")
    finally:
        await handle.unpause()
