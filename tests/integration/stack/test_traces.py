"""One trace, from the caller's `traceparent` to the activities of the workflow."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest

import worker
from api.app import create_app
from billing.core.database import open_database
from billing.core.tracing import open_tracing
from devstack.control import StackControl
from devstack.stack import StackInfo
from tests.collector import Collector, collecting
from tests.integration.actors import API, wait_for
from tests.integration.api_app import Api, stack_settings
from workflows.client import connect


@pytest.fixture
async def traced(stack: StackInfo, control: StackControl) -> AsyncIterator[tuple[Api, Collector]]:
    """An API and a worker that trace, in the place of the stack's own."""
    with collecting() as collector:
        settings = stack_settings(
            stack,
            BILLING_OTLP_ENDPOINT=collector.address,
            BILLING_WORKER_METRICS_PORT=0,
            BILLING_PROFILE="default",  # the worker runs in this process, which is of no other
        )
        await control.stop("worker")
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(settings, stop))
        try:
            async with open_database(settings) as database:
                temporal = await connect(settings, open_tracing(settings, "api"))
                app = create_app(settings, database, temporal)
                transport = httpx2.ASGITransport(app=app)
                async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
                    yield Api(app, client, stack), collector
        finally:
            stop.set()
            await working
            await control.start("worker")


async def test_a_callers_trace_leads_to_the_activities(traced: tuple[Api, Collector]) -> None:
    api, collector = traced
    account, trace = await api.new_account(), secrets.token_hex(16)
    answer = await api.client.post(
        f"{API}/billing/purchases",
        json={"pack": "small", "payment_method": "card"},
        headers=api.token(account["id"], ["billing"])
        | {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Idempotency-Key": str(uuid4())},
    )
    assert answer.status_code in (201, 202), answer.text
    await api.app.state.services.tracing.close()

    async def seen() -> set[str]:
        return collector.of_trace(trace).get("durable-billing-worker", set())

    done = await wait_for(
        seen, "the worker's spans arrive", lambda names: "RunActivity:purchase.open" in names
    )
    assert "RunWorkflow:Purchase" in done
    assert "POST /api/v1/billing/purchases" in collector.of_trace(trace)["durable-billing-api"]
