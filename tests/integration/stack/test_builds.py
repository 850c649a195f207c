"""Two builds of the worker, one after the other: what the first began the second goes on with."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.service import RPCError

from billing.core.clock import real_now
from devstack.launch import launch
from devstack.options import ROOT, Options
from tests.integration.actors import Actors, open_actors, wait_for
from tests.integration.payments.manual_payments import decide, submit

pytestmark = pytest.mark.slow
DEPLOYMENT = "billing"


@pytest.fixture
async def actors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Actors]:
    """Everybody who can act on a stack whose workers these tests start."""
    data = tmp_path_factory.mktemp("builds") / "data"
    options = Options(data=data, profile="test", free_ports=True, ui=False, owner=os.getpid())
    running = await asyncio.to_thread(launch, options)
    async with open_actors(running.info) as everybody:
        await everybody.control.stop("worker")
        yield everybody
    await asyncio.to_thread(running.stop)


@asynccontextmanager
async def worker(actors: Actors, build: str) -> AsyncIterator[None]:
    """A worker of this build, whose version is the current one; it ends as a deploy ends it."""
    env = os.environ | actors.stack.env | {"BILLING_BUILD_ID": build, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "worker.py"), env=env, cwd=actors.stack.data,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await wait_for(lambda: made_current(actors, build), f"build {build} is the current one")
        yield
    finally:
        process.terminate()
        await process.wait()


async def made_current(actors: Actors, build: str) -> bool:
    namespace, service = actors.temporal.namespace, actors.temporal.workflow_service
    try:
        known = await service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=namespace, deployment_name=DEPLOYMENT)
        )
        await service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=namespace, deployment_name=DEPLOYMENT, build_id=build,
                conflict_token=known.conflict_token,
            )
        )  # fmt: skip
    except RPCError:
        return False  # its worker has not said yet that it is there
    return True


async def test_a_purchase_and_the_jobs_go_on_with_the_build_after_theirs(actors: Actors) -> None:
    async with worker(actors, "1"):
        customer = await actors.customer()
        begun = await customer.buy("small", "manual")
        subscribed = await customer.subscribed("basic")
    async with worker(actors, "2"):
        begun_at = real_now()
        await wait_for(lambda: swept(actors, begun_at), "the sweep runs with the second build")
        payment = await submit(customer, begun["invoice_id"])
        await decide(customer, payment, "approve")
        await customer.until_purchase(begun["purchase_id"], "completed")
        await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
        await customer.until_subscription("canceled")
        for name in (
            f"purchase/{begun['purchase_id']}", f"subscription/{subscribed['subscription_id']}",
        ):  # fmt: skip
            assert await build_of(actors, name) == "2", name


async def swept(actors: Actors, since: datetime) -> bool:
    """A pass of the sweep that began after this has ended."""
    query = "WorkflowType = 'Sweep' AND ExecutionStatus = 'Completed'"
    found = [one async for one in actors.temporal.list_workflows(query, limit=50)]
    return any(one.id.startswith("sweep/sweep") and one.start_time > since for one in found)


async def build_of(actors: Actors, name: str) -> str:
    """The build that has finished the workflow's newest task."""
    described = await actors.temporal.get_workflow_handle(name).describe()
    info = described.raw_description.workflow_execution_info
    return info.versioning_info.deployment_version.build_id
