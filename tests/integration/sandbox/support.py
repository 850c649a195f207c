"""Parts that tests of the sandbox share: process, webhook receiver, SDK, refusals."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
import stripe

from sandbox.control import SandboxControl

ROOT = Path(__file__).parents[3]
SPEC = ROOT.parent / "shared" / "stripe" / "openapi.json"
PATIENCE_SECONDS = 30
"""A busy machine is slow, not wrong."""
T = TypeVar("T")
SECRET = "whsec_for_these_tests"

stripe.enable_telemetry = False


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Posting:
    """One webhook as it arrived."""

    at: float
    signature: str
    body: str

    @property
    def event(self) -> dict[str, Any]:
        """The event in it."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """The other end of the webhooks: notes what arrives, answers as told."""

    port: int = 0
    arrived: list[Posting] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    """Customers whose events get a 500."""
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The URL to post to."""
        return f"http://127.0.0.1:{self.port}/hooks"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer postings on one connection until it closes."""
        self.connections.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                pairs = (line.split(": ", 1) for line in head[1:] if ": " in line)
                headers = {name.lower(): value for name, value in pairs}
                body = (await reader.readexactly(int(headers["content-length"]))).decode()
                posting = Posting(time.time(), headers["stripe-signature"], body)
                refused = owner(posting.event) in self.refuse
                self.arrived.append(posting)
                status = b"500 No" if refused else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self.connections.discard(writer)

    async def hang_up(self) -> None:
        """Close what is open, and let those who answered end."""
        for writer in list(self.connections):
            writer.close()
        await asyncio.sleep(0.05)

    def of(self, customer: str) -> list[Posting]:
        """Postings that arrived for one customer."""
        return [posting for posting in self.arrived if owner(posting.event) == customer]

    def types(self, customer: str) -> list[str]:
        """The types of what arrived for one customer, in order of arrival."""
        return [posting.event["type"] for posting in self.of(customer)]

    async def until(self, customer: str, kind: str, count: int = 1) -> list[Posting]:
        """Wait for events of a type; fails after half a minute."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = [p for p in self.of(customer) if p.event["type"] == kind]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)


def owner(event: dict[str, Any]) -> str | None:
    """The customer an event is about."""
    subject = event["data"]["object"]
    found: str | None = (
        subject["id"] if subject["object"] == "customer" else subject.get("customer")
    )
    return found


@dataclass
class Process:
    """One sandbox process that can be killed and started again on its database."""

    folder: Path
    webhook_url: str
    port: int = field(default_factory=free_port)
    more: dict[str, str] = field(default_factory=dict)
    child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "SANDBOX_DATABASE": str(self.folder / "sandbox.db"),
            "SANDBOX_WEBHOOK_URL": self.webhook_url,
            "SANDBOX_WEBHOOK_SECRET": SECRET,
            "SANDBOX_PUBLIC_URL": self.url,
            "SANDBOX_CONFORMANCE": "1",
            **self.more,
        }
        line = [sys.executable, "-m", "uvicorn", "sandbox.app:app", "--no-access-log"]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(
                [*line, "--port", str(self.port), "--log-level", "warning"],
                cwd=ROOT, env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.child.poll() is None:
            try:
                httpx2.get(f"{self.url}/_sandbox/health", trust_env=False).raise_for_status()
            except httpx2.TransportError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"the sandbox did not start: {(self.folder / 'log').read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it and wait for its end."""
        if self.child:
            self.child.send_signal(number)
            self.child.wait(20)
            self.child = None


def client_for(url: str, key: str = "sk_test_sandbox") -> stripe.StripeClient:
    """The SDK, unmodified, with every address it could use pointing at the sandbox."""
    return stripe.StripeClient(
        key,
        base_addresses={"api": url, "files": url, "connect": url, "meter_events": url},
        max_network_retries=0,
        http_client=stripe.AIOHTTPClient(timeout=10),
    )


async def until(found: Callable[[], Awaitable[T]], seconds: float = PATIENCE_SECONDS) -> T:
    """Ask again until the answer is true; fails when it never is."""
    async with asyncio.timeout(seconds):
        while not (answer := await found()):  # noqa: ASYNC110  asked of another process
            await asyncio.sleep(0.02)
    return answer


async def struck(control: SandboxControl, plan: int, kind: str = "faults") -> None:
    """Wait until a plan has hit."""

    async def hit() -> bool:
        return any(found["hits"] for found in await control.plans(kind) if found["id"] == plan)

    await until(hit)


async def declined(call: Awaitable[Any]) -> Any:
    """Await a call that must be declined; gives the SDK's error object."""
    with pytest.raises(stripe.CardError) as caught:
        await call
    assert caught.value.http_status == 402
    return caught.value.error


async def refused(call: Awaitable[Any]) -> Any:
    """Await a call that must be refused as an invalid request; gives the SDK's exception."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await call
    return caught.value
