"""The product's own processes in the run's stack: healthy, and started again when killed."""

import httpx2
import pytest

from devstack.control import StackControl
from devstack.options import ChildName
from devstack.stack import StackInfo
from tests.integration.actors import Actors


async def test_every_part_answers_on_the_address_that_the_stack_tells(stack: StackInfo) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        for url in (
            f"{stack.api_url}/health",
            stack.api_docs_url,
            stack.worker_metrics_url,
            stack.temporal_metrics_url,
            f"{stack.sandbox_url}/_sandbox/health",
        ):
            answer = await client.get(url)
            assert answer.status_code == 200, url


async def test_the_worker_tells_how_late_each_step_was(stack: StackInfo, actors: Actors) -> None:
    customer = await actors.customer()
    await customer.buy()
    async with httpx2.AsyncClient(trust_env=False) as client:
        told = (await client.get(stack.worker_metrics_url)).text
    done = [line for line in told.splitlines() if line.startswith("billing_step_lateness")]
    assert any('step="open"' in line and "_count" in line for line in done), done


@pytest.mark.parametrize("part", ["worker", "api", "sandbox"])
async def test_a_killed_program_is_started_again(
    stack: StackInfo, control: StackControl, part: ChildName
) -> None:
    before = (await control.status())[part]
    await control.kill(part)
    after = (await control.wait(part))[part]
    assert after.state == "ready"
    assert after.pid != before.pid
    assert after.restarts == before.restarts + 1


async def test_the_worker_stops_properly_and_stays_down_until_started(
    stack: StackInfo, control: StackControl
) -> None:
    assert (await control.stop("worker"))["worker"].state == "held"
    try:
        assert (await control.status())["worker"].pid is None
    finally:
        assert (await control.start("worker"))["worker"].state == "ready"
