"""A worker is well once it asks for work, not as soon as its metrics answer."""

from typing import Any, cast

import pytest
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from billing.platform.parking.service import Barrier
from cli.health import SERVING, answers
from devstack.stack import StackInfo
from tests.integration.api_app import stack_settings
from tests.integration.sandbox.support import free_port
from tests.integration.waiting import wait_for
from worker import build_worker
from workflows.client import connect


async def test_a_worker_that_does_not_serve_yet_is_not_well(
    stack: StackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.MAX_STEPS", {"idle": 1})
    settings, port = stack_settings(stack), free_port()
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{port}")
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    client = await connect(settings, runtime=runtime, lazy=False)
    idle = build_worker(client, "idle", [], settings, cast(Barrier, cast(Any, None)))
    assert await answers(port, "/metrics")
    assert not await answers(port, "/metrics", SERVING)
    async with idle:
        await wait_for(lambda: answers(port, "/metrics", SERVING), "it asks for work")
