"""A sandbox of its own for these tests: a real process, a real socket, the real SDK.

Every request and answer is checked on the way; the last fixture to go asserts no violation.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import SPEC, Process, Receiver, client_for


@pytest.fixture(scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook endpoint for the whole run."""
    found = Receiver()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, limit=1 << 20)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await found.hang_up()


@pytest.fixture(scope="session")
def sandbox(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The sandbox these tests share."""
    more = {"SANDBOX_SPEC": str(SPEC)} if SPEC.exists() else {}
    process = Process(tmp_path_factory.mktemp("sandbox"), receiver.url, more=more)
    process.start()
    yield process
    found = httpx2.get(f"{process.url}/_sandbox/violations", trust_env=False).json()
    process.stop()
    log = (process.folder / "log").read_text()
    assert found == {"checked": True, "data": []}
    assert "Traceback" not in log, log


@pytest.fixture(scope="session")
async def v1(sandbox: Process) -> Any:
    """The SDK's v1 services."""
    return client_for(sandbox.url).v1


@pytest.fixture(scope="session")
async def control(sandbox: Process) -> AsyncIterator[SandboxControl]:
    """The control plane."""
    async with SandboxControl(sandbox.url) as found:
        yield found


@pytest.fixture
async def customer(v1: Any) -> str:
    """A fresh customer, so that tests never meet."""
    # After a pause the server has closed the connections that the client keeps.
    again = {"max_network_retries": 5}
    made = await v1.customers.create_async({"email": "ada@example.com", "name": "Ada"}, again)
    return str(made.id)
