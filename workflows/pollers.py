"""Workers as Temporal sees them: when each queue was last polled.

Only workers of the current build get new work.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client

from billing.matters.kinds import QUEUES
from workflows.contracts import TemporalMessage

TASK_TYPES: Final = {
    "workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activities": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
# A poll that finds no task ends after a minute and is repeated.
GONE: Final = timedelta(seconds=75)
_RPC_TIMEOUT: Final = timedelta(seconds=3)


class Polled(TemporalMessage):
    """The last poll of one queue and task type.

    `asked_at` is None if no worker of the current build has polled recently.
    """

    queue: str
    task_type: str
    asked_at: datetime | None
    build: str = ""
    """The current build; empty where workers are not versioned."""

    def is_deserted(self, now: datetime) -> bool:
        """Return True if no worker polls for these tasks any more."""
        return self.asked_at is None or now - self.asked_at > GONE


async def polled(client: Client) -> list[Polled]:
    """Return the current build's last poll of each queue and task type. Errors: RPCError."""
    return [
        _last_poll(queue, task_type, await _described(client, queue, number))
        for queue in QUEUES
        for task_type, number in TASK_TYPES.items()
    ]


async def backlog(client: Client) -> int:
    """Return about how many tasks wait for a worker, over all queues. Errors: RPCError."""
    waiting = 0
    for queue in QUEUES:
        for number in TASK_TYPES.values():
            found = await _described(client, queue, number, stats=True)
            waiting += found.stats.approximate_backlog_count
    return waiting


async def _described(
    client: Client, queue: str, number: TaskQueueType.ValueType, *, stats: bool = False
) -> DescribeTaskQueueResponse:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=number,
        report_stats=stats,
    )
    return await client.workflow_service.describe_task_queue(request, timeout=_RPC_TIMEOUT)


def _last_poll(queue: str, task_type: str, found: DescribeTaskQueueResponse) -> Polled:
    build = found.versioning_info.current_deployment_version.build_id
    asked = (
        one.last_access_time.ToDatetime(UTC) for one in found.pollers if _build_of(one) == build
    )
    return Polled(queue=queue, task_type=task_type, asked_at=max(asked, default=None), build=build)


def _build_of(poller: PollerInfo) -> str:
    """Return the build of a versioned worker; empty for any other."""
    known = poller.deployment_options
    is_versioned = (
        known.worker_versioning_mode == WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    )
    return known.build_id if is_versioned else ""
