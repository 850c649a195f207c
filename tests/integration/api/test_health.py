"""The service says how it is, and works as far as its parts are there."""

import asyncio
import re
import socket
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from api.app import create_app
from billing.core.database import open_database
from billing.core.disk_room import FILL
from billing.core.settings import VERSION
from devstack.stack import dsn
from tests.integration.api_app import ACCOUNTS, Api, stack_settings
from tests.integration.wrong_clock import wrong_clock
from workflows.client import connect

NOBODY = "postgresql+psycopg://billing_app:secret-word@127.0.0.1:1/billing"


@asynccontextmanager
async def calling(app: FastAPI) -> Any:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def test_health_has_exactly_its_fields(api: Api) -> None:
    answer = await api.client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "healthy",
        "service": "billing_service",
        "port": api.app.state.services.settings.service_port,
        "version": VERSION,
        "dependencies": {"database": "healthy"},
    }


async def test_a_probe_may_ask_for_health_without_its_body(api: Api) -> None:
    assert (await api.client.head("/health")).status_code == 200


async def test_detailed_health_names_parts_without_addresses_or_secrets(api: Api) -> None:
    answer = await api.client.get("/health/detailed")
    body = answer.json()
    assert body["dependencies"].keys() == {"postgres", "temporal", "stripe"}
    assert body["dependencies"]["postgres"]["status"] == "healthy"
    assert body["dependencies"]["temporal"]["status"] == "healthy"
    assert body["provider"] == "sandbox"
    for secret in (api.stack.temporal_address, api.stack.sandbox_url, "sk_test", "127.0.0.1"):
        assert secret not in answer.text


async def test_a_process_whose_clock_is_wrong_changes_nothing_and_leaves_the_balancer(
    api: Api,
) -> None:
    pulse, token = api.app.state.services.pulse, api.admin()
    body = {"external_id": f"shop-{uuid4()}"}
    with wrong_clock(timedelta(minutes=2)):
        await pulse.beat()
        refused = await api.client.post(ACCOUNTS, json=body, headers=token)
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        assert "clock" in refused.json()["detail"]
        health = await api.client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert (await api.client.get(ACCOUNTS, headers=token)).status_code == 200
    await pulse.beat()
    assert (await api.client.get("/health")).status_code == 200
    assert (await api.client.post(ACCOUNTS, json=body, headers=token)).status_code == 201


async def test_without_postgres_the_service_is_unhealthy_and_refuses_at_once(api: Api) -> None:
    settings = stack_settings(api.stack, database_url=NOBODY, database_operator_url=NOBODY)
    app = create_app(settings, None, await connect(settings))
    async with calling(app) as client:
        health = await client.get("/health")
        assert health.status_code == 503
        assert health.json()["dependencies"] == {"database": "unhealthy"}
        for method, path in (("GET", ACCOUNTS), ("POST", ACCOUNTS)):
            body = {"external_id": "x"} if method == "POST" else None
            answer = await client.request(method, path, json=body, headers=api.admin())
            assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
            assert "secret-word" not in answer.text
        assert (await client.get("/api/v1/meta/features")).status_code == 200


@pytest.mark.parametrize("error", ["disk_full", "configuration_limit_exceeded"])
async def test_a_full_disk_is_unhealthy_though_a_heartbeat_fits(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    refuse = f"DO $$ BEGIN RAISE EXCEPTION 'could not write' USING ERRCODE = '{error}'; END $$"
    monkeypatch.setattr("billing.core.disk_room.FILL", refuse)
    settings = stack_settings(api.stack)
    async with calling(create_app(settings, api.database, await connect(settings))) as client:
        answer = await client.get("/health")
        signs = (await client.get("/health/detailed")).json()["signs"]
    full = error == "disk_full"
    assert answer.status_code == (503 if full else 200)
    assert signs["database"] == ("unhealthy" if full else "healthy")


async def test_whether_there_is_room_is_found_by_what_needs_new_room(api: Api) -> None:
    url = dsn(api.stack.superuser_url)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SET temp_file_limit = '128kB'; SET work_mem = '64kB'")
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            await connection.execute(FILL)


async def test_without_temporal_reads_work(api: Api) -> None:
    settings = stack_settings(api.stack, temporal_address="127.0.0.1:1")
    made = await api.new_account()
    temporal: Client = await connect(settings)
    async with calling(create_app(settings, api.database, temporal)) as client:
        found = await client.get(f"{ACCOUNTS}/{made['id']}", headers=api.admin())
        assert found.json() == made
        assert (await client.get("/health")).status_code == 200
        detailed = (await client.get("/health/detailed")).json()
        assert detailed["dependencies"]["temporal"]["status"] == "unhealthy"
        assert detailed["status"] == "unhealthy"


async def test_when_every_connection_is_taken_the_next_caller_hears_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.core.database.POOL_TIMEOUT_SECONDS", 0.2)
    settings = stack_settings(api.stack, BILLING_DATABASE_POOL_SIZE=1)
    async with (
        open_database(settings) as database,
        calling(create_app(settings, database, await connect(settings))) as client,
    ):
        async with database.operator():
            answer = await client.get(ACCOUNTS, headers=api.admin())
        assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
        assert (await client.get(ACCOUNTS, headers=api.admin())).status_code == 200


async def test_metrics_are_served_on_a_port_of_their_own(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = stack_settings(api.stack, BILLING_API_METRICS_PORT=port)
    app = create_app(settings, api.database)
    secret = f"shop-{uuid4()}"
    async with app.router.lifespan_context(app), calling(app) as client:
        for path in (f"{ACCOUNTS}/{secret}", f"{ACCOUNTS}/{secret}/"):
            await client.get(path, headers=api.admin())
        await client.get(f"/{secret}")
        assert (await client.get("/metrics")).status_code == 404
        async with httpx2.AsyncClient(trust_env=False) as scraper:
            page = (await scraper.get(f"http://127.0.0.1:{port}/metrics")).text
    counted = 'route="/api/v1/admin/accounts/{account_id}",status="404"'
    assert re.search(re.escape(counted) + r"\} [2-9]", page), "both spellings under one route"
    assert 'route="unmatched",status="404"' in page
    assert secret not in page, "labels are never a caller's words"
    with pytest.raises(httpx2.ConnectError):
        async with httpx2.AsyncClient(trust_env=False) as scraper:
            await scraper.get(f"http://127.0.0.1:{port}/metrics")


async def test_health_is_asked_of_a_part_once_however_many_ask(api: Api) -> None:
    settings = stack_settings(api.stack)
    app = create_app(settings, api.database, await connect(settings))
    async with calling(app) as client:
        answers = await asyncio.gather(*(client.get("/health/detailed") for _ in range(30)))
    measured = {str(answer.json()["dependencies"]) for answer in answers}
    assert len(measured) == 1
