"""The request log: a line for each write that leaves no record of its own, and each refusal."""

import logging
from typing import Any

import httpx2
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.monitoring.failures import FailureCount
from api.monitoring.metrics import MetricsMiddleware


async def logged(
    caplog: pytest.LogCaptureFixture, method: str, path: str, status: int = 200
) -> list[logging.LogRecord]:
    """The records of such an answer in the log."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=status)(scope, receive, send)

    measured: Any = MetricsMiddleware(app, FailureCount())
    transport = httpx2.ASGITransport(measured)
    with caplog.at_level(logging.INFO, "api.requests"):
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.request(method, f"http://api{path}")
    return [one for one in caplog.records if one.name == "api.requests"]


async def lines(
    caplog: pytest.LogCaptureFixture, method: str, path: str, status: int = 200
) -> list[str]:
    """The lines that such an answer leaves."""
    return [one.getMessage() for one in await logged(caplog, method, path, status)]


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


@pytest.mark.parametrize("before", ["", "/", "/billing", "/shop/billing"])
async def test_the_token_of_a_payment_page_is_in_no_line(
    caplog: pytest.LogCaptureFixture, before: str
) -> None:
    """Also where a proxy leaves the path of the public address before it, and no route matches."""
    (line,) = await logged(caplog, "GET", f"{before}/pay/a-token-that-pays", 404)
    assert vars(line)["path"] == f"{before}/pay/"
    assert "a-token-that-pays" not in str(vars(line))


async def test_the_path_of_any_other_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    path = "/api/v1/billing/invoices/inv_1/pay"
    (line,) = await logged(caplog, "POST", path, 404)
    assert vars(line)["path"] == path
