"""A way into a workflow that fails is told to its caller, and to nobody else."""

import asyncio
import gc
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from billing.core import ids
from billing.matters.schemas import of_account
from workflows import start


class Deaf:
    """A client whose server does not answer: as the SDK does, it tells the operation as well."""

    def __init__(self, status: RPCStatusCode | None) -> None:
        self.status = status

    async def execute_update_with_start_workflow(
        self, _: str, *, start_workflow_operation: Any, **__: Any
    ) -> None:
        keep = start_workflow_operation._workflow_handle
        if self.status is None:
            keep.set_exception(asyncio.CancelledError())
            raise WorkflowUpdateRPCTimeoutOrCancelledError
        error = RPCError("away", self.status, b"")
        keep.set_exception(error)
        raise error


@pytest.mark.parametrize("status", [None, RPCStatusCode.UNAVAILABLE])
async def test_a_wait_that_failed_leaves_no_failure_that_nobody_read(
    status: RPCStatusCode | None,
) -> None:
    heard: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, seen: heard.append(seen["message"]))
    with suppress(RPCError):
        await start.wait_until_done(
            cast("Client", Deaf(status)), of_account(ids.new()), timedelta(seconds=1)
        )
    gc.collect()
    loop.set_exception_handler(None)
    assert heard == []
