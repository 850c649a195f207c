"""A Temporal that is there without our namespace, as after the loss of its database, is away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from io import StringIO
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from rich.console import Console
from temporalio.service import RPCError

from api.app import create_app
from api.monitoring.health_checks import HealthChecks
from billing.matters.schemas import of_account
from cli.doctor import show_parts
from cli.doctor_checks import Patient, temporal
from tests.integration.api.test_health import calling
from tests.integration.api_app import Api, stack_settings
from workflows import start
from workflows.client import connect

NAME = "nobody-made-it"


@pytest.fixture
async def app(api: Api) -> FastAPI:
    settings = stack_settings(api.stack, temporal_namespace=NAME)
    return create_app(settings, api.database, await connect(settings))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with calling(app) as found:
        yield found


async def test_nothing_is_begun_without_it(
    api: Api, app: FastAPI, client: httpx2.AsyncClient
) -> None:
    made = await api.new_account()
    assert (await HealthChecks().part(app.state.services, "temporal")).status == "unhealthy"
    answer = await client.post(
        "/api/v1/billing/purchases",
        json={"pack": "small", "payment_method": "card"},
        headers=api.token(made["id"], ["billing"]) | {"Idempotency-Key": "one"},
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "TEMPORAL_UNAVAILABLE")
    path = f"/api/v1/admin/accounts/{made['id']}/timeline"
    told = await api.client.get(path, headers=api.admin())
    assert "purchase" not in told.text


async def test_what_waits_for_a_run_asks_once(api: Api) -> None:
    found = await connect(stack_settings(api.stack, temporal_namespace=NAME))
    with pytest.raises(RPCError, match="not found"):
        await start.wait_until_done(found, of_account(UUID(int=1)), timedelta(seconds=3))


async def test_the_doctor_says_that_it_is_missing(api: Api) -> None:
    settings = stack_settings(api.stack, temporal_namespace=NAME)
    (sign,) = await temporal(Patient(settings, api.database, await connect(settings), None))
    assert (sign.name, sign.state) == ("namespace", "unhealthy")
    assert sign.words == f"Temporal has no {NAME}"


async def test_the_status_says_that_it_is_missing(api: Api) -> None:
    settings, shown = stack_settings(api.stack, temporal_namespace=NAME), StringIO()
    console = Console(file=shown, width=200)
    await asyncio.to_thread(show_parts, settings, api.stack, console)
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert f"Namespace ✗ unhealthy Temporal has no {NAME}" in lines
