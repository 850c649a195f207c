"""A matter that lives for years goes on in new runs, and loses no order and no word on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import ids
from billing.money.collecting.rules import Collecting
from billing.money.dunning.rules import Case
from billing.money.subscriptions.rules import SubscriptionState
from tests.integration.actors import Actors, wait_for
from workflows.contracts import (
    CommandRequest,
    DunningCommand,
    MatterRef,
    MatterStatus,
    Settled,
)
from workflows.subscription import SubscriptionWorkflow

EVENTS_PER_RUN = 25
OPERATORS, ORDERS = 8, 12
PATIENCE_SECONDS = 60
START = datetime(2027, 1, 1, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
STATE = SubscriptionState(
    status="past_due",
    subscription="sub_1",
    clock_at=START,
    current_period_end=LATER,
    cycle_end=LATER,
    invoices=(
        Collecting(
            invoice="inv_1",
            day_zero_at=START,
            case=Case(
                status="paused", policy=DunningPolicy(), zone="UTC", day_zero_at=START, last_slot=0,
                last_slot_ran_at=START, last_true_attempt_at=START,
            ),
        ),
    ),
)  # fmt: skip


class Rows:
    """Stands in for the rows: counts what is carried out, and always says the same. Its renewal is
    never due, so no run asks for it.
    """

    def __init__(self) -> None:
        self.commands_run: list[str] = []

    @activity.defn(name="subscription.load")
    async def load(self, _: MatterRef) -> SubscriptionState:
        return STATE

    @activity.defn(name="subscription.perform")
    async def perform(self, request: CommandRequest) -> SubscriptionState:
        self.commands_run.append(request.key)
        return STATE


@asynccontextmanager
async def living(
    client: Client, rows: Rows, subject: UUID | None = None
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """One subscription's workflow on a worker of its own; the handle is of its newest run."""
    queue, subject = f"long-lives-{uuid4()}", subject or ids.new()
    name = f"subscription/{ids.encode(ids.SUBSCRIPTION, subject)}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[SubscriptionWorkflow],
        activities=[rows.load, rows.perform],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        await client.start_workflow(
            SubscriptionWorkflow.run,
            MatterRef(account_id=ids.new(), kind="subscription", subject_id=subject),
            id=name,
            task_queue=queue,
        )
        newest = client.get_workflow_handle(name)
        try:
            yield newest
        finally:
            await newest.terminate("the story is over")


async def ordered(handle: WorkflowHandle[Any, Any]) -> None:
    """An order that comes in while a new run begins is given back, and given again."""
    while True:
        try:
            await handle.execute_update("pause_dunning", DunningCommand(reason="again"))
            return
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new run after a few dozen events instead of thousands."""
    monkeypatch.setattr(
        workflow.Info,
        "is_continue_as_new_suggested",
        lambda info: info.get_current_history_length() > EVENTS_PER_RUN,
    )


async def test_orders_and_signals_around_each_new_run_are_all_carried_out(
    actors: Actors, short_runs: None
) -> None:
    rows = Rows()
    async with living(actors.temporal, rows) as handle:
        first = (await handle.describe()).run_id

        async def operator() -> None:
            for _ in range(ORDERS):
                await ordered(handle)
                await handle.signal("changed")

        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(operator() for _ in range(OPERATORS)))
            await handle.execute_update("settled", result_type=Settled)
            standing = await handle.query("standing", result_type=MatterStatus)
        last = (await handle.describe()).run_id

    assert len(rows.commands_run) == OPERATORS * ORDERS
    assert len(set(rows.commands_run)) == OPERATORS * ORDERS, "each has a key of its own"
    assert first != last, "there was more than one run"
    assert standing.status == "past_due"


async def test_a_wait_that_meets_the_end_of_a_run_is_told_to_ask_again(
    actors: Actors, short_runs: None
) -> None:
    answers: list[Settled] = []
    async with living(actors.temporal, Rows()) as handle, asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(20):
            answers += await asyncio.gather(
                *(handle.execute_update("settled", result_type=Settled) for _ in range(4))
            )
    assert all(answer.halted is None for answer in answers)
    assert any(answer.settled for answer in answers)


async def test_an_order_that_a_reset_gives_again_keeps_its_key(actors: Actors) -> None:
    """The server gives the new run what came behind the point of the reset, orders too."""
    rows = Rows()
    async with living(actors.temporal, rows) as handle, asyncio.timeout(PATIENCE_SECONDS):
        await handle.execute_update("settled", result_type=Settled)
        before = await handle.fetch_history()
        for _ in range(2):
            await ordered(handle)
        await reset(actors.temporal, handle, _first_task_of(before))
        await wait_for(lambda: _given_again(rows), "the new run has taken the orders")
    assert len(set(rows.commands_run)) == 2, "each order has one key, in whichever run"


async def test_an_id_by_hand_that_comes_again_in_another_verb_or_life_is_another_order(
    actors: Actors, short_runs: None
) -> None:
    """Its sender was answered as if the second order had been carried out."""
    rows, subject = Rows(), ids.new()
    async with living(actors.temporal, rows, subject) as handle, asyncio.timeout(PATIENCE_SECONDS):
        await handle.execute_update("pause_dunning", DunningCommand(), id="by hand")
        await _renewed(handle)
        await handle.execute_update("resume_dunning", DunningCommand(), id="by hand")
    async with living(actors.temporal, rows, subject) as handle:
        await handle.execute_update("pause_dunning", DunningCommand(), id="by hand")
    assert len(rows.commands_run) == len(set(rows.commands_run)) == 3


async def _renewed(handle: WorkflowHandle[Any, Any]) -> None:
    """Wake it until it goes on in another run."""
    first = (await handle.describe()).run_id
    while (await handle.describe()).run_id == first:
        await handle.signal("changed")


def _first_task_of(history: WorkflowHistory) -> int:
    kinds = [one.event_type for one in history.events]
    return kinds.index(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) + 1


async def _given_again(rows: Rows) -> bool:
    return len(rows.commands_run) == 4


async def reset(client: Client, handle: WorkflowHandle[Any, Any], event_id: int) -> None:
    """As an operator does on Temporal's page."""
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id),
            reason="its tasks failed",
            workflow_task_finish_event_id=event_id,
            request_id=str(uuid4()),
        )
    )
