"""Only workers of the current build count: no other one gets new work."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkerVersioningMode
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse

from workflows import pollers

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


class Server:
    """Knows the builds of the workers that ask, and the current one."""

    namespace = "billing"

    def __init__(self, current: str, *builds: str) -> None:
        self.workflow_service = self
        self._answer = DescribeTaskQueueResponse()
        self._answer.versioning_info.current_deployment_version.build_id = current
        for build in builds:
            one = self._answer.pollers.add()
            one.last_access_time.FromDatetime(NOW - timedelta(seconds=5))
            one.deployment_options.build_id = build or "a release"
            one.deployment_options.worker_versioning_mode = (
                WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
                if build
                else WorkerVersioningMode.WORKER_VERSIONING_MODE_UNVERSIONED
            )

    async def describe_task_queue(
        self, _: DescribeTaskQueueRequest, timeout: timedelta
    ) -> DescribeTaskQueueResponse:
        assert timeout
        return self._answer


@pytest.mark.parametrize(
    ("current", "builds", "deserted"),
    [
        ("", [""], False),
        ("", [], True),
        ("", ["new"], True),
        ("new", ["new"], False),
        ("new", ["old", "new"], False),
        ("old", ["new", ""], True),
    ],
)
async def test_a_queue_is_deserted_without_a_worker_of_the_current_build(
    current: str, builds: list[str], *, deserted: bool
) -> None:
    server: Any = Server(current, *builds)
    found = await pollers.polled(server)
    assert [one.is_deserted(NOW) for one in found] == [deserted] * 4
    assert {one.build for one in found} == {current}
