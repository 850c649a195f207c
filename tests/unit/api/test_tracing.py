"""Traces: a request's span in the caller's trace; without a collector nothing is loaded."""

import subprocess
import sys

import httpx2
import pytest

from api.app import create_app
from tests.collector import collecting
from tests.unit.api.conftest import lonely_settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNLOADED = """
import sys
from pydantic import SecretStr
import worker
from api.app import create_app
from billing.core.settings import Settings
create_app(Settings(jwt_secret=SecretStr("s" * 32)))
sys.exit(any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


async def test_a_request_is_a_span_in_the_trace_of_its_caller() -> None:
    with collecting() as collector:
        app = create_app(lonely_settings(BILLING_OTLP_ENDPOINT=collector.address))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            await client.get("/api/v1/admin/accounts/acc_1", headers={"traceparent": PARENT})
            await client.get("/pay/a-token-that-pays", headers={"traceparent": "no trace"})
        await app.state.services.tracing.close()
        assert collector.of_trace(TRACE) == {
            "durable-billing-api": {"GET /api/v1/admin/accounts/{account_id}"}
        }


async def test_a_request_by_an_alias_is_a_span_of_the_route_that_answers_it() -> None:
    with collecting() as collector:
        app = create_app(lonely_settings(BILLING_OTLP_ENDPOINT=collector.address))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            for path in ("v1/usage", "billing/plans/", "v1/billing/invoices?status="):
                await client.get(f"/api/{path}", headers={"traceparent": PARENT})
        await app.state.services.tracing.close()
        assert collector.of_trace(TRACE) == {
            "durable-billing-api": {
                "GET /api/v1/usage/current",
                "GET /api/v1/billing/plans",
                "GET /api/v1/billing/invoices",
            }
        }


def test_without_a_collector_nothing_of_the_sdk_is_loaded() -> None:
    loaded = subprocess.run([sys.executable, "-c", UNLOADED], check=False, capture_output=True)
    assert loaded.returncode == 0, loaded.stderr


def test_a_collector_without_the_extra_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SystemExit, match=r"install durable-billing\[otel\]"):
        create_app(lonely_settings(BILLING_OTLP_ENDPOINT="http://collector:4318"))
