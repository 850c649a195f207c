"""An operator's command that comes while a step fails is answered in time, and never lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError

from billing.money.subscriptions.rules import SubscriptionState
from tests.integration.actors import Actors, wait_for
from tests.integration.workflows.test_long_lives import (
    EVENTS_PER_RUN,
    STATE,
    Rows,
    living,
    short_runs,
)
from tests.integration.workflows.test_steps_apart import SOON
from tests.replay.test_replay import replayer
from workflows import commands
from workflows.contracts import CommandRequest, DunningCommand, MatterRef, MatterStatus, Settled
from workflows.subscription import SubscriptionWorkflow

__all__ = ["short_runs"]


class RowsAway(Rows):
    """They cannot be read while `is_away`; a command without a reason is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away, self.tries = False, 0

    @activity.defn(name="subscription.load")
    async def load(self, _: MatterRef) -> SubscriptionState:
        self.tries += self.is_away
        if self.is_away:
            raise ApplicationError("the database is away")
        return STATE

    @activity.defn(name="subscription.perform")
    async def perform(self, request: CommandRequest) -> SubscriptionState:
        if not request.command.reason:
            raise ApplicationError("give a reason", type="REASON_MISSING", non_retryable=True)
        self.commands_run.append(request.command.reason)
        return STATE

    async def were_asked(self) -> bool:
        return self.tries > 1


@pytest.fixture
def soon_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ANSWER_WITHIN", timedelta(seconds=0.3))


async def ordered(handle: WorkflowHandle[Any, Any], reason: str) -> MatterStatus:
    command = DunningCommand(reason=reason)
    asked = handle.execute_update("pause_dunning", command, result_type=MatterStatus)
    return await asyncio.wait_for(asked, SOON)


async def fails(rows: RowsAway, handle: WorkflowHandle[Any, Any]) -> None:
    """It has read its rows, and then cannot read them for a round of tries."""
    await handle.execute_update("settled", result_type=Settled)
    rows.is_away = True
    await handle.signal("changed")
    await wait_for(rows.were_asked, "the look is tried again")


@pytest.mark.usefixtures("soon_answered")
async def test_a_command_beside_a_failing_step_is_answered_in_time_and_carried_out_after_it(
    actors: Actors,
) -> None:
    """Its sender waited for the whole round of tries, half an hour."""
    rows = RowsAway()
    async with living(actors.temporal, rows) as handle:
        done = await ordered(handle, "at once")
        assert (done.settled, done.is_queued) == (True, False)
        await fails(rows, handle)
        for reason in ("first", "", "second"):
            told = await ordered(handle, reason)
            assert (told.settled, told.is_queued) == (False, True)
        assert rows.commands_run == ["at once"]
        rows.is_away = False
        settled = await handle.execute_update("settled", result_type=Settled)
        assert settled.settled, "the refusal of one that nobody waits for stops nothing"
        assert rows.commands_run == ["at once", "first", "second"]
        history = await handle.fetch_history()
    await replayer([SubscriptionWorkflow]).replay_workflow(history)


@pytest.mark.usefixtures("short_runs", "soon_answered")
async def test_a_queued_command_is_not_lost_with_its_run(actors: Actors) -> None:
    rows = RowsAway()
    async with living(actors.temporal, rows) as handle:
        await fails(rows, handle)
        assert (await ordered(handle, "first")).is_queued
        for _ in range(EVENTS_PER_RUN):
            await handle.signal("changed")
        before = (await handle.describe()).run_id
        rows.is_away = False

        async def is_another_run() -> bool:
            return (await handle.describe()).run_id != before

        await wait_for(is_another_run, "it goes on in another run")
        assert rows.commands_run == ["first"]
