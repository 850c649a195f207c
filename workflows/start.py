"""Typed functions that start, signal and update workflows; each is safe to repeat."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.update.v1 import UpdateRef
from temporalio.api.workflowservice.v1 import PollWorkflowExecutionUpdateRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import TemporalError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from billing.core import ids
from billing.core.errors import Unavailable
from billing.matters.kinds import BACKGROUND, KINDS, MatterKind
from billing.matters.schemas import Matter, Planned
from billing.platform.provider_inbox.rules import WaitingEvent
from workflows.attributes import (
    ACCOUNT_ID,
    BILLING_STATUS,
    NEXT_DUE_AT,
    PLAN,
    to_the_second,
)
from workflows.client import lacks_namespace
from workflows.contracts import (
    MatterRef,
    MatterStatus,
    ReconcileMove,
    ReconcileRequest,
    Settled,
    WalkRequest,
)
from workflows.policies import TASK_TIMEOUT

_logger: Final = logging.getLogger("workflows.start")
WAIT_RETRY: Final = timedelta(milliseconds=50)
ASK_AGAIN: Final = timedelta(seconds=3)
RESUME_TRIES: Final = 20
_RPC_TIMEOUT: Final = timedelta(seconds=5)
_REPEATABLE: Final[dict[str, Any]] = {
    "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
    "id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    "task_timeout": TASK_TIMEOUT,
}
"""A start that finds its workflow running leaves it alone, and begins one that has ended anew."""
# The workflow ended, or began a new run meanwhile: the server returns the update undelivered.
_BETWEEN_RUNS: Final = {
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.ABORTED,
    RPCStatusCode.FAILED_PRECONDITION,
}


async def start_new(client: Client, matter: Matter) -> None:
    """Start a new matter, unless its workflow runs; wake it if its kind allows that it exists."""
    kind = KINDS[matter.kind]
    if kind.born_anew:
        await nudge(client, matter)
    else:
        await client.start_workflow(
            kind.workflow, _ref(matter), rpc_timeout=_RPC_TIMEOUT, **_options(matter, kind)
        )


async def begin(client: Client, matter: Matter, planned: Planned | None = None) -> bool:
    """Start the workflow of a matter that seems to have none; False if it already runs.

    With `planned` the rows need no read before their next step, and the run sleeps until that is
    due: the server pays a start and a timer, a worker nothing. `nudge` and updates wake it.
    """
    kind, ref = KINDS[matter.kind], _ref(matter)
    options = _options(matter, kind) | {"id_conflict_policy": WorkflowIDConflictPolicy.FAIL}
    if planned is not None and matter.head is not None:
        ref = ref.model_copy(
            update={"waits_for": matter.head.model_copy(update={"words": matter.words})}
        )
        options |= {
            "search_attributes": TypedSearchAttributes(_attributes(matter, planned)),
            "start_delay": planned.asleep_for,
            "static_details": f"rebuilt, and slept until its next step, which was: {matter.words}",
        }
    try:
        await client.start_workflow(kind.workflow, ref, rpc_timeout=_RPC_TIMEOUT, **options)
    except WorkflowAlreadyStartedError:
        return False
    return True


async def nudge(client: Client, matter: Matter, event: WaitingEvent | None = None) -> None:
    """Signal a matter that its rows changed; start a closed workflow again, free a halted one.

    With `event` the matter checks that event at once, without reading the rows first.
    """
    await free(client, matter)
    await _wake(client, matter, event)


async def free(client: Client, matter: Matter) -> None:
    """Have a halted matter go on, because something of it changed.

    One whose steps are independent does other steps while it is halted, and the failed one waits.
    Without an answer the matter tries again by itself within the hour.
    """
    if matter.status == "halted" and not KINDS[matter.kind].independent_steps:
        with suppress(Unavailable, RPCError):
            await resume(client, matter)


async def _wake(client: Client, matter: Matter, event: WaitingEvent | None = None) -> None:
    kind = KINDS[matter.kind]
    args = [event] if event else []
    if not kind.sleeps and await _signaled(client, matter, args):
        return
    await client.start_workflow(
        kind.workflow,
        _ref(matter),
        start_signal="changed",
        start_signal_args=args,
        rpc_timeout=_RPC_TIMEOUT,
        **_options(matter, kind),
    )


async def _signaled(client: Client, matter: Matter, args: Sequence[WaitingEvent]) -> bool:
    """Signal a running workflow, at half the server's cost of signal-with-start; False if none."""
    running = client.get_workflow_handle(matter.workflow_id)
    try:
        await running.signal("changed", args=args, rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def notify_event(client: Client, matter: Matter, event_id: str) -> None:
    """Notify a matter of a provider event."""
    await nudge(client, matter, WaitingEvent(id=event_id))


async def wait_until_done(
    client: Client, matter: Matter, timeout: timedelta, stem: str | None = None
) -> Settled | None:
    """Wake a matter and wait until nothing is due; None when that takes longer than `timeout`.

    `stem`: of a matter whose steps are independent, only for steps whose keys begin with it.
    """
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            while True:
                try:
                    answer = await _wait_once(client, matter, stem)
                except WorkflowUpdateFailedError:  # the run ended while the update waited, or
                    answer, stem = None, None  # its worker's release waits for all steps alone
                if answer is not None and (answer.settled or answer.halted):
                    return answer
                await asyncio.sleep(WAIT_RETRY.total_seconds())
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        _raise_if_canceled()
        return None


async def resume(client: Client, matter: Matter) -> bool:
    """Retry a halted matter's step now; False if it is not halted. A matter that the register has
    as halted but that has no run is started again from its rows.

    Errors: Unavailable if no worker answers; the next worker may still receive the update.
    """
    handle = client.get_workflow_handle(matter.workflow_id)
    for _ in range(RESUME_TRIES):
        try:
            await handle.execute_update(
                "resume", result_type=MatterStatus, rpc_timeout=_RPC_TIMEOUT
            )
            return True
        except WorkflowUpdateFailedError:
            return False
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            _raise_if_canceled()
            detail = "no worker answers: the matter tries again by itself within the hour"
            raise Unavailable("TEMPORAL_UNAVAILABLE", detail) from error
        except RPCError as error:
            if error.status not in _BETWEEN_RUNS:
                raise
            if error.status is RPCStatusCode.NOT_FOUND:
                if matter.status != "halted":
                    return False
                await _wake(client, matter)
                return True
        await asyncio.sleep(WAIT_RETRY.total_seconds())
    return False  # a workflow that keeps starting new runs is not halted


async def walk(client: Client, account_id: UUID, *, is_new: bool = True) -> None:
    """Start the walk of the account's clock to its target; a running walk reads the new target."""
    await client.start_workflow(
        "Clock",
        WalkRequest(account_id=account_id),
        id=f"clock/{ids.encode(ids.ACCOUNT, account_id)}",
        task_queue=BACKGROUND,
        start_signal="aim" if is_new else None,
        rpc_timeout=_RPC_TIMEOUT,
        **_REPEATABLE,
    )


async def reconcile(client: Client, run_id: UUID) -> WorkflowHandle[Any, ReconcileMove]:
    """Start a comparison with the provider, unless its workflow runs."""
    request = ReconcileRequest(run_id=run_id)
    return await client.start_workflow(
        "Reconciliation",
        request,
        id=f"reconciliation/{ids.encode(ids.RECONCILIATION, run_id)}",
        task_queue=BACKGROUND,
        result_type=ReconcileMove,
        rpc_timeout=_RPC_TIMEOUT,
        **_REPEATABLE,
    )


def _raise_if_canceled() -> None:
    """Raise the cancellation of this task, for which the SDK raises an error of its own."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _wait_once(client: Client, matter: Matter, stem: str | None) -> Settled | None:
    """Ask once, and again where no answer comes: Temporal knows the update by its id.

    The SDK itself repeats a call with the id of its first start, and Temporal refuses that for good
    once the run of that start has ended.
    """
    update_id = secrets.token_urlsafe(6)  # each event of it repeats the id, and a uuid is long
    is_known = False
    while True:
        patience = asyncio.timeout(ASK_AGAIN.total_seconds())
        try:
            async with patience:
                return await _ask(client, matter, stem, update_id)
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            task = asyncio.current_task()
            is_ours = patience.expired() and task is not None and not task.cancelling()
            if not is_ours:  # Temporal's own answer, or the caller's time is over
                raise
        is_known = is_known or await _is_woken(client, matter, update_id)


async def _is_woken(client: Client, matter: Matter, update_id: str) -> bool:
    """Return True if Temporal has the update, or took a signal in its place: it refuses one beside
    too many in flight, which the SDK tells nobody, because it repeats the call.
    """
    request = PollWorkflowExecutionUpdateRequest(
        namespace=client.namespace,
        update_ref=UpdateRef(
            workflow_execution=WorkflowExecution(workflow_id=matter.workflow_id),
            update_id=update_id,
        ),
    )
    try:
        await client.workflow_service.poll_workflow_execution_update(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            return False
    else:
        return True
    with suppress(RPCError):
        await _wake(client, matter)
        _logger.warning("%s took no update: it was woken by a signal", matter.workflow_id)
        return True
    return False


async def _ask(client: Client, matter: Matter, stem: str | None, update_id: str) -> Settled | None:
    kind = KINDS[matter.kind]
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        kind.workflow, _ref(matter), **_options(matter, kind)
    )
    try:
        answer: Settled = await client.execute_update_with_start_workflow(
            "settled" if stem is None else "settled_about",
            args=[] if stem is None else [stem],
            id=update_id,
            start_workflow_operation=start,
            result_type=Settled,
        )
        return answer
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        await _read_failure(start)
        raise
    except RPCError as error:
        await _read_failure(start)
        if error.status in _BETWEEN_RUNS and not lacks_namespace(error):
            return None
        raise


async def _read_failure(start: WithStartWorkflowOperation[Any, Any]) -> None:
    """Read the failure that the SDK also stores in the operation; otherwise asyncio logs it."""
    with suppress(TemporalError, asyncio.CancelledError):
        await start.workflow_handle()  # decided already: this does not wait


def _ref(matter: Matter) -> MatterRef:
    return MatterRef(
        account_id=matter.account_id,
        kind=matter.kind,
        subject_id=matter.subject_id,
        head=matter.head if matter.head is not None and matter.head.is_planned else None,
        correlation_id=matter.correlation_id,
    )


def _options(matter: Matter, kind: MatterKind) -> dict[str, Any]:
    return {
        "id": matter.workflow_id,
        "task_queue": kind.queue,
        "search_attributes": TypedSearchAttributes(_attributes(matter)),
        "static_summary": ids.encode(ids.ACCOUNT, matter.account_id),
    } | _REPEATABLE


def _attributes(matter: Matter, planned: Planned | None = None) -> list[SearchAttributePair[Any]]:
    """Return the search attributes known at the start: set there, they cost no extra event."""
    known: list[SearchAttributePair[Any]] = [
        SearchAttributePair(ACCOUNT_ID, ids.encode(ids.ACCOUNT, matter.account_id))
    ]
    status = planned.status if planned else matter.born_as or KINDS[matter.kind].born_as
    if status is not None:
        known.append(SearchAttributePair(BILLING_STATUS, status))
    plan = planned.plan if planned else matter.plan
    if plan is not None:
        known.append(SearchAttributePair(PLAN, plan))
    if matter.head is not None:
        known.append(SearchAttributePair(NEXT_DUE_AT, to_the_second(matter.head.due)))
    return known
