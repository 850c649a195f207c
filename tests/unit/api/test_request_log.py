"""The request log: a line for each write that leaves no record of its own, and each refusal."""

import logging
from typing import Any

import httpx2
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.monitoring.failures import FailureCount
from api.monitoring.metrics import MetricsMiddleware


async def lines(
    caplog: pytest.LogCaptureFixture, method: str, path: str, status: int = 200
) -> list[str]:
    """The lines that such an answer leaves."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=status)(scope, receive, send)

    measured: Any = MetricsMiddleware(app, FailureCount())
    transport = httpx2.ASGITransport(measured)
    with caplog.at_level(logging.INFO, "api.requests"):
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            await client.request(method, path)
    return [one.getMessage() for one in caplog.records if one.name == "api.requests"]


async def test_a_write_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert await lines(caplog, "POST", "/api/v1/billing/purchases", 201) == ["POST unmatched: 201"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/billing/purchases"),
        ("POST", "/api/v1/usage/record"),
        ("POST", "/api/v1/webhooks/stripe"),
        ("POST", "/api/v1/webhooks/paypal"),
    ],
)
async def test_reads_and_what_leaves_its_own_record_are_logged_when_refused(
    caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    assert await lines(caplog, method, path) == []
    assert await lines(caplog, method, path, 400) == [f"{method} unmatched: 400"]
