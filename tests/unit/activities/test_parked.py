"""The worker does no step while billing is parked, and reads on."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.billing_interceptor import BillingInterceptor
from billing.core import ids
from billing.core.errors import Unavailable
from billing.matters.agenda import Step
from billing.platform.parking.service import CODE, Barrier
from workflows.contracts import Command, CommandRequest, MatterRef, StepRequest

REF = MatterRef(workflow_id="trial/x", account_id=ids.new(), kind="trial", subject_id=ids.new())
STEP = Step(name="end", key="x/end", due=datetime(2027, 1, 1, tzinfo=UTC))


class Closed(Barrier):
    """Parked, whatever any database says."""

    def __init__(self) -> None:
        """Needs none."""

    async def refuse(self) -> None:
        raise Unavailable(CODE, "parked")


class Done(ActivityInboundInterceptor):
    """An activity that always ends well."""

    def __init__(self) -> None:
        """Is the last of the chain."""

    async def execute_activity(self, _: ExecuteActivityInput) -> Any:
        return "done"


async def run(argument: Any) -> Any:
    chain = BillingInterceptor(Closed()).intercept_activity(Done())
    asked = ExecuteActivityInput(fn=run, args=[argument], executor=None, headers={})
    return await ActivityEnvironment().run(chain.execute_activity, asked)


@pytest.mark.parametrize(
    "argument",
    [
        StepRequest(ref=REF, step=STEP),
        CommandRequest(ref=REF, command=Command(name="retry"), key="1"),
    ],
)
async def test_no_step_is_done_and_no_command_carried_out(argument: Any) -> None:
    with pytest.raises(ApplicationError) as refused:
        await run(argument)
    assert (refused.value.type, refused.value.non_retryable) == (CODE, False)


async def test_rows_are_read_all_the_same() -> None:
    assert await run(cast("Any", REF)) == "done"
