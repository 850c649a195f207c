"""Every answer carries the id under which logs, audit rows and Stripe know the request."""

import logging

import httpx2
import pytest

from billing.core import context
from tests.unit.api.forging import signed


async def test_a_good_id_comes_back_and_stands_in_the_problem(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/nowhere", headers={"X-Correlation-Id": "shop-7:cart.42_A"})
    assert answer.headers["X-Correlation-Id"] == "shop-7:cart.42_A"
    assert answer.json()["correlation_id"] == "shop-7:cart.42_A"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a;DROP TABLE", "é", "{}", "a\tb"])
async def test_an_id_unfit_for_logs_is_replaced(client: httpx2.AsyncClient, sent: str) -> None:
    headers = [(b"X-Correlation-Id", sent.encode("latin-1"))]
    answer = await client.get("/nowhere", headers=headers)
    assert answer.headers["X-Correlation-Id"] not in ("", sent)
    assert answer.headers["X-Correlation-Id"] == answer.json()["correlation_id"]


async def test_two_requests_never_share_an_id(client: httpx2.AsyncClient) -> None:
    ids = {(await client.get("/nowhere")).headers["X-Correlation-Id"] for _ in range(20)}
    assert len(ids) == 20


async def test_a_refused_request_is_logged_under_its_id_and_its_caller(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, str | None, str]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            who = context.actor.get()
            heard.append((record.getMessage(), context.correlation_id.get(), who))

    logger, listener = logging.getLogger("api.requests"), Listener()
    logger.addHandler(listener)
    with caplog.at_level(logging.INFO, "api.requests"):
        headers = {"X-Correlation-Id": "c-1", "Authorization": f"Bearer {signed(sub='ann')}"}
        await client.get("/api/v1/admin/accounts/x/", headers=headers)
        headers["Authorization"] = f"Bearer {signed(sub='bob', roles=['member'], account_id='a')}"
        await client.get("/api/v1/admin/accounts/x/", headers=headers)
        await client.get("/api/v1/meta/features")
    logger.removeHandler(listener)
    path = "GET /api/v1/admin/accounts/{account_id}"
    assert heard == [
        (f"{path}: 503", "c-1", "admin:ann"),
        (f"{path}: 403", "c-1", "member:bob"),
    ]
    assert context.actor.get() == "system"
