"""Every typed way into a workflow; safe to repeat, for what already runs is found."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from billing.core import ids
from billing.core.agenda import Step
from billing.core.matter import LOOK, Matter, workflow_id
from billing.events.rules import event_step
from workflows.attributes import ACCOUNT_ID, BILLING_STATUS, NEXT_DUE_AT
from workflows.contracts import MatterRef, Standing, WalkRequest
from workflows.policies import TASK_TIMEOUT

INTERACTIVE: Final = "interactive"
"""A person waits for the answer."""
BACKGROUND: Final = "background"
"""Time or a machine asked."""

_WORKFLOWS: Final = {
    "purchase": ("Purchase", INTERACTIVE),
    "trial": ("Trial", INTERACTIVE),
    "subscription": ("Subscription", BACKGROUND),
    "collection": ("Collection", BACKGROUND),
    "charge": ("ChargeUsage", INTERACTIVE),
    "account": ("Account", INTERACTIVE),
}
# The status most matters of a kind have when their workflow starts.
_BORN_AS: Final = {
    "purchase": "pending", "trial": "active", "collection": "collecting", "charge": "pending",
}  # fmt: skip
SETTLE_RETRY: Final = timedelta(milliseconds=50)
_RPC_TIMEOUT: Final = timedelta(seconds=5)


async def ensure_running(client: Client, matter: Matter) -> None:
    """Start the matter's workflow from its row, or find the one that already runs."""
    name, queue = _WORKFLOWS[matter.kind]
    await client.start_workflow(
        name, _ref(matter), rpc_timeout=_RPC_TIMEOUT, **_options(matter, queue)
    )


async def nudge(client: Client, matter: Matter, hint: Step | None = None) -> None:
    """Tell a matter that its rows changed; a closed workflow is started again."""
    name, queue = _WORKFLOWS[matter.kind]
    told = [hint] if hint else []
    try:  # most run: a plain signal costs the server half of one that may start
        running = client.get_workflow_handle(matter.workflow_id)
        await running.signal("changed", args=told, rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        await client.start_workflow(
            name,
            _ref(matter),
            start_signal="changed",
            start_signal_args=told,
            rpc_timeout=_RPC_TIMEOUT,
            **_options(matter, queue),
        )


async def tell(client: Client, matter: Matter, event_id: str) -> None:
    """A provider event came in for this matter; the hint spares it a look at the rows."""
    await nudge(client, matter, event_step(matter.workflow_id, event_id))


async def settle(client: Client, matter: Matter, timeout: timedelta) -> Standing | None:
    """Wake a matter and wait until nothing is due; None when that takes longer than `timeout`."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            while True:
                standing = await _settle_once(client, matter)
                if standing is not None and (standing.settled or standing.halted):
                    return standing
                await asyncio.sleep(SETTLE_RETRY.total_seconds())
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return None  # the SDK tells a cancelled wait by an error of its own


async def resume(client: Client, matter: Matter) -> bool:
    """Have a halted matter try its step again now; False when it is not halted."""
    try:
        await client.get_workflow_handle(matter.workflow_id).execute_update(
            "resume", result_type=Standing, rpc_timeout=_RPC_TIMEOUT
        )
    except WorkflowUpdateFailedError:
        return False
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def walk(client: Client, account_id: UUID) -> None:
    """Let the account's clock walk to its target; a walk that runs reads the new target."""
    await client.start_workflow(
        "Clock",
        WalkRequest(account_id=account_id),
        id=workflow_id("clock", account_id),
        task_queue=BACKGROUND,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        start_signal="aim",
        task_timeout=TASK_TIMEOUT,
        rpc_timeout=_RPC_TIMEOUT,
    )


async def _settle_once(client: Client, matter: Matter) -> Standing | None:
    name, queue = _WORKFLOWS[matter.kind]
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        name, _ref(matter), **_options(matter, queue)
    )
    try:
        standing: Standing = await client.execute_update_with_start_workflow(
            "settled", start_workflow_operation=start, result_type=Standing
        )
        return standing
    except WorkflowUpdateFailedError:
        return None  # the run ended while the update waited: the next round meets a new one
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        await _hear(start)
        raise
    except RPCError as error:
        await _hear(start)
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.ABORTED):
            return None
        raise


async def _hear(start: WithStartWorkflowOperation[Any, Any]) -> None:
    """The SDK keeps the failure in the operation too, and asyncio logs what nobody has read."""
    with suppress(TemporalError, asyncio.CancelledError):
        await start.workflow_handle()  # decided already: this does not wait


def _ref(matter: Matter) -> MatterRef:
    return MatterRef(
        workflow_id=matter.workflow_id,
        account_id=matter.account_id,
        head=None if matter.head is None or matter.head.name == LOOK else matter.head,
        correlation_id=matter.correlation_id,
    )


def _options(matter: Matter, queue: str) -> dict[str, Any]:
    return {
        "id": matter.workflow_id,
        "task_queue": queue,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        "task_timeout": TASK_TIMEOUT,
        "search_attributes": TypedSearchAttributes(_attributes(matter)),
        "static_summary": f"{matter.kind} {ids.encode(ids.ACCOUNT, matter.account_id)}",
    }


def _attributes(matter: Matter) -> list[SearchAttributePair[Any]]:
    """What is known at the start: shown with it, they cost no event of their own."""
    known: list[SearchAttributePair[Any]] = [
        SearchAttributePair(ACCOUNT_ID, ids.encode(ids.ACCOUNT, matter.account_id))
    ]
    if matter.kind in _BORN_AS:
        known.append(SearchAttributePair(BILLING_STATUS, _BORN_AS[matter.kind]))
    if matter.head is not None:
        known.append(SearchAttributePair(NEXT_DUE_AT, matter.head.due))
    return known
