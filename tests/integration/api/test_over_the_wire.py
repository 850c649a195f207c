"""The real server of the stack: what raw sockets get for bodies and headers without measure."""

import asyncio
import json
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from devstack.stack import StackInfo
from tests.integration.api_app import Api

MEGABYTE = 1_048_576


async def talk(url: str, *pieces: bytes, seconds: float = 5.0) -> tuple[int, dict[str, object]]:
    """Send raw bytes, read one answer: its status, and its problem if it is one."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(seconds):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
    finally:
        writer.close()
    status = int(head.split(b" ", 2)[1])
    problem: dict[str, object] = json.loads(body) if b"problem+json" in head else {}
    return status, problem


def request(path: str, token: str = "", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: api", "Content-Type: application/json", *headers]
    if token:
        lines.append(f"Authorization: {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("path", "limit"), [("/api/v1/admin/accounts", MEGABYTE), ("/api/v1/webhooks/stripe", 262_144)]
)
async def test_an_announced_giant_is_refused_before_it_is_sent(
    api: Api, path: str, limit: int
) -> None:
    token = api.admin()["Authorization"]
    started = time.monotonic()
    head = request(path, token, f"Content-Length: {limit + 1}")
    status, problem = await talk(api.stack.api_url, head)
    assert (status, problem["code"]) == (413, "BODY_TOO_LARGE")
    assert time.monotonic() - started < 2


async def test_an_unannounced_giant_is_cut_off_at_its_limit(api: Api) -> None:
    token = api.admin()["Authorization"]
    head = request("/api/v1/admin/accounts", token, "Transfer-Encoding: chunked")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    status, problem = await talk(api.stack.api_url, head, *[chunk] * 17)
    assert (status, problem["code"]) == (413, "BODY_TOO_LARGE")


async def test_headers_without_measure_are_refused(api: Api) -> None:
    head = request("/api/v1/admin/accounts", "Bearer " + "x" * 200_000, "Content-Length: 0")
    status, _ = await talk(api.stack.api_url, head)
    assert status in {400, 401, 431}


async def test_the_servers_document_and_metrics_are_where_the_stack_says(
    stack: StackInfo,
) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.get(stack.api_docs_url)).status_code == 200
        assert (await client.get(f"{stack.api_url}/health")).json()["status"] == "healthy"
        assert (await client.get(f"{stack.api_url}/metrics")).status_code == 404
        metrics = await client.get(stack.api_metrics_url)
        assert "billing_http_requests_total" in metrics.text
