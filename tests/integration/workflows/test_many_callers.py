"""Many callers wait for one matter whose step fails: Temporal takes few updates at once."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateStage

from billing.core import ids
from billing.matters.schemas import Matter, of_account
from devstack.temporal import IN_FLIGHT
from tests.integration.actors import Actors
from tests.integration.workflows.test_steps_apart import SOON, Rows, living, until
from tests.replay.test_replay import replayer
from workflows import answering, failed_steps, matter, start
from workflows.account import AccountWorkflow
from workflows.contracts import Settled
from workflows.policies import TEST

LATER: Final = timedelta(hours=1)


@pytest.fixture
def slow_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed step waits an hour for its next try."""
    slow = replace(TEST, first_retry=LATER, slowest_retry=LATER)
    monkeypatch.setattr(matter, "POLICIES", slow)
    monkeypatch.setattr(failed_steps, "POLICIES", slow)


def named(handle: WorkflowHandle[Any, Any]) -> Matter:
    return of_account(ids.decode(ids.ACCOUNT, handle.id.partition("/")[2]))


@pytest.mark.usefixtures("slow_round")
async def test_a_matter_that_takes_no_more_updates_is_woken_by_a_signal(
    actors: Actors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The change waited for the sweep, and nothing said so: the SDK repeats a refused call."""
    monkeypatch.setattr(answering, "ANSWER_WITHIN", LATER)
    monkeypatch.setattr(start, "ASK_AGAIN", timedelta(seconds=1))
    rows = Rows()
    async with living(actors.temporal, rows) as handle:
        await until(lambda: rows.done["setup"], "it is tried")
        accepted = WorkflowUpdateStage.ACCEPTED
        waiting = [
            handle.start_update("settled", id=f"caller {one}", wait_for_stage=accepted)
            for one in range(IN_FLIGHT)
        ]
        await asyncio.gather(*waiting)
        await asyncio.sleep(1)
        seen = len(rows.saved_as_halted)
        known = start._is_woken(actors.temporal, named(handle), "caller 1")
        assert await asyncio.wait_for(known, 1), "Temporal has it, and says so at once"
        with caplog.at_level(logging.WARNING, "workflows.start"):
            client, asked = actors.temporal, named(handle)
            assert await start.wait_until_done(client, asked, timedelta(seconds=SOON)) is None
        assert len(rows.saved_as_halted) == seen + 1, "it has read its rows again"
        told = [one.message for one in caplog.records if one.name == "workflows.start"]
        assert told == [f"{handle.id} took no update: it was woken by a signal"]


@pytest.mark.usefixtures("slow_round")
async def test_who_waits_for_a_failing_step_is_answered_in_time(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller left an update for half an hour; beside ten of them all others were refused."""
    monkeypatch.setattr(answering, "ANSWER_WITHIN", timedelta(seconds=0.3))
    rows = Rows()
    async with living(actors.temporal, rows) as handle:
        await until(lambda: rows.done["setup"], "it is tried")
        for name, *stem in (("settled",), ("settled_about", "set_1/")):
            answer = handle.execute_update(name, args=stem, result_type=Settled)
            assert await asyncio.wait_for(answer, SOON) == Settled(settled=False)
        client, asked = actors.temporal, named(handle)
        waiting = asyncio.create_task(start.wait_until_done(client, asked, timedelta(seconds=9)))
        await asyncio.sleep(1)
        assert not waiting.done(), "who has more patience asks again"
        await handle.terminate("the story is over")
        waiting.cancel()
        history = await handle.fetch_history()
    await replayer([AccountWorkflow]).replay_workflow(history)
