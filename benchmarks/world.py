"""The stack a benchmark runs against, its clients, and the callers it acts as."""

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import jwt
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from embedded.launch import launch
from embedded.options import ROOT, Options
from embedded.stack import StackInfo
from sandbox.control import SandboxControl

READY_SECONDS: Final = 30
TOKEN_SECONDS: Final = 3 * 3600
MAX_CONNECTIONS: Final = 128


@dataclass(frozen=True)
class World:
    """Everything a measure needs."""

    stack: StackInfo
    http: httpx2.AsyncClient
    temporal: Client
    sandbox: SandboxControl

    def headers(self, account: str, *roles: str) -> dict[str, str]:
        """A caller's authorization."""
        claims = {
            "sub": "bench",
            "account_id": account,
            "roles": list(roles or ("billing",)),
            "aud": self.stack.jwt_audience,
            "iss": self.stack.jwt_issuer,
            "exp": int(time.time()) + TOKEN_SECONDS,
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, self.stack.jwt_secret, 'HS256')}"}

    async def account(self, **fields: Any) -> str:
        """A fresh account's id."""
        body = {"external_id": f"bench-{secrets.token_hex(6)}", **fields}
        answer = await self.http.post(
            "/admin/accounts", json=body, headers=self.headers("*", "admin")
        )
        answer.raise_for_status()
        return str(answer.json()["id"])


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    """A stack on free ports, its worker with the yardstick beside; gone afterwards."""
    os.environ["BILLING_RATE_LIMIT"] = "100000000/minute"
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder:
        options = Options(
            data=Path(folder) / "data",
            free_ports=True,
            ui=False,
            children=("postgres", "temporal", "sandbox", "api"),
            owner=os.getpid(),
        )
        running = await asyncio.to_thread(launch, options)
        worker = _start_worker(running.info)
        try:
            yield await _connect(running.info)
        finally:
            worker.terminate()
            worker.wait(READY_SECONDS)
            await asyncio.to_thread(running.stop)


def _start_worker(stack: StackInfo) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench_worker"],
        cwd=ROOT,
        env={**os.environ, **stack.env},
        stdout=subprocess.DEVNULL,
    )


async def _connect(stack: StackInfo) -> World:
    http = httpx2.AsyncClient(
        base_url=f"{stack.api_url}/api/v1",
        timeout=30,
        trust_env=False,
        limits=httpx2.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
        ),
    )
    temporal = await Client.connect(
        stack.temporal_address,
        namespace=stack.temporal_namespace,
        data_converter=pydantic_data_converter,
    )
    return World(stack, http, temporal, SandboxControl(stack.sandbox_url))
