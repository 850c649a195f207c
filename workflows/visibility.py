"""Read-only queries about workflows: the runs of one, and which ones are running.

They serve proofs and repair; no decision of the product depends on them.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import AwareDatetime
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from billing.matters.kinds import KINDS
from workflows.attributes import ATTRIBUTES, BILLING_STATUS, HALTED
from workflows.client import never_connected
from workflows.contracts import TemporalMessage

MAX_RUNS: Final = 20
ASKED_TOGETHER: Final = 200
"""Workflow ids in one query."""
LISTED_TOGETHER: Final = 1_000
"""Workflows on one page of the server's list."""
_RUNS: Final = "ExecutionStatus = 'Running'"
_RPC_TIMEOUT: Final = timedelta(seconds=2)
_PAGE_TIMEOUT: Final = timedelta(seconds=20)
"""End of one call among very many, none of which may hang."""
_PATIENCE_SECONDS: Final = 3.0
_WORKFLOWS: Final = frozenset(kind.workflow for kind in KINDS.values())
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Run(TemporalMessage):
    """One run of a workflow, in real time."""

    run_id: str
    status: str
    started_at: AwareDatetime | None
    closed_at: AwareDatetime | None


async def runs(client: Client, workflow_id: str) -> list[Run] | None:
    """Return the newest runs of a workflow, newest first; None if Temporal does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = {run.run_id: run for run in await _listed(client, workflow_id)}
            newest = await _described(client, workflow_id)
    except (RPCError, TimeoutError):
        return None
    except RuntimeError as error:
        if not never_connected(error):
            raise
        return None
    if newest is not None:
        found[newest.run_id] = _run(newest)  # the list may lag behind
    return sorted(found.values(), key=lambda run: run.started_at or _LONG_AGO, reverse=True)


async def running_matters(client: Client) -> AsyncIterator[list[str]]:
    """Yield pages of the workflow ids of running matters. Errors: RPCError.

    Clock walks and scheduled jobs are not matters.
    """
    listed = client.list_workflows(_RUNS, page_size=LISTED_TOGETHER, rpc_timeout=_PAGE_TIMEOUT)
    while listed.current_page is None or listed.next_page_token:
        await listed.fetch_next_page()
        page = listed.current_page or ()
        yield [one.id for one in page if one.workflow_type in _WORKFLOWS]


async def running_among(client: Client, names: Sequence[str]) -> set[str]:
    """Return which of these workflows run, by Temporal's list, which lags by about a second.

    Errors: RPCError.
    """
    return await _among(client, names, _RUNS)


async def halted_among(client: Client, names: Sequence[str]) -> set[str]:
    """Return which of these workflows run and are halted, by the same list. Errors: RPCError."""
    return await _among(client, names, f"{_RUNS} AND {BILLING_STATUS.name} = '{HALTED}'")


async def _among(client: Client, names: Sequence[str], condition: str) -> set[str]:
    found: set[str] = set()
    for first in range(0, len(names), ASKED_TOGETHER):
        asked = ", ".join(f"'{name}'" for name in names[first : first + ASKED_TOGETHER])
        query = f"{condition} AND WorkflowId IN ({asked})"
        listed = client.list_workflows(query, page_size=ASKED_TOGETHER, rpc_timeout=_PAGE_TIMEOUT)
        found |= {one.id async for one in listed}
    return found


async def _listed(client: Client, workflow_id: str) -> list[Run]:
    query = f"WorkflowId = '{workflow_id}'"
    listed = client.list_workflows(query, limit=MAX_RUNS, rpc_timeout=_RPC_TIMEOUT)
    return [_run(one) async for one in listed]


async def _described(client: Client, workflow_id: str) -> WorkflowExecution | None:
    try:
        return await client.get_workflow_handle(workflow_id).describe(rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


def _run(execution: WorkflowExecution) -> Run:
    return Run(
        run_id=execution.run_id,
        status=execution.status.name.lower() if execution.status else "unknown",
        started_at=execution.start_time,
        closed_at=execution.close_time,
    )


async def missing_attributes(client: Client) -> list[str]:
    """Return `Name (Type)` of each search attribute that is missing or has another type.

    The list is also empty if the server does not show its attributes, as Temporal Cloud does not.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        listed = await client.operator_service.list_search_attributes(request)
    except RPCError as error:
        if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED):
            return []
        raise
    there = listed.custom_attributes
    return [
        f"{key.name} ({key.indexed_value_type.name.title().replace('_', '')})"
        for key in ATTRIBUTES
        if there.get(key.name) != int(key.indexed_value_type)
    ]
