"""Programs of one release or another on the same database: started here, always stopped."""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from cli.health import answers
from devstack.options import ROOT
from devstack.ports import HOST
from devstack.stack import StackInfo

START_SECONDS: Final = 180
REBUILD: Final = """
import asyncio
from billing.core.settings import load_settings
from cli.rebuild import rebuild
asyncio.run(rebuild(load_settings(), lambda *_: None))
"""


def unpack(commit: str, folder: Path) -> Path:
    """The project as it was released; skips where this copy has no history."""
    archived = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=False
    )
    if archived.returncode:
        pytest.skip(f"the release {commit[:7]} is not in this copy's git history")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@dataclass(frozen=True)
class Site:
    """One database, its stack's other servers, and the code of a release."""

    stack: StackInfo
    code: Path

    @property
    def env(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, (self.code, self.code / "clients" / "python" / "src")))
        return {**os.environ, **self.stack.env, "PYTHONPATH": path}

    def provision(self) -> None:
        """Migrate to this release's newest migration; fill the catalog where there is none."""
        # The release before had it elsewhere.
        folder = "cli" if (self.code / "cli" / "provision.py").exists() else "devstack"
        self._run("-m", f"{folder}.provision")

    def rebuild(self) -> None:
        """Start a workflow of this release for each open matter that has none."""
        self._run("-c", REBUILD)

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.code,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @asynccontextmanager
    async def api(self, port: int, metrics: int) -> AsyncIterator[StackInfo]:
        """An API process of this release; the stack as seen by its callers."""
        argv: tuple[str, ...] = (sys.executable, "-m", "api")
        if not (self.code / "api" / "__main__.py").exists():  # 0.1.0 was started so
            listen = ("--host", HOST, "--port", str(port), "--no-access-log")
            argv = (sys.executable, "-m", "uvicorn", "api.app:app", *listen)
        more = {"BILLING_API_METRICS_PORT": str(metrics), "BILLING_SERVICE_PORT": str(port)}
        async with self._running(argv, port, "/health", more):
            yield self.stack.model_copy(update={"api_url": f"http://{HOST}:{port}"})

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """The worker of this release, on the stack's own port for its metrics."""
        argv = (sys.executable, str(self.code / "worker.py"))
        async with self._running(argv, self.stack.ports.worker_metrics, "/metrics", {}):
            yield

    @asynccontextmanager
    async def _running(
        self, argv: tuple[str, ...], port: int, path: str, more: dict[str, str]
    ) -> AsyncIterator[None]:
        log = self.stack.logs / f"{self.code.name}-{Path(argv[-1]).name}-{port}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *argv, cwd=self.stack.data, env=self.env | more, stdout=output, stderr=output
            )
            try:
                await _until_served(process, port, path, log)
                yield
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


async def _until_served(
    process: asyncio.subprocess.Process, port: int, path: str, log: Path
) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, _end_of(log)
            with suppress(OSError):
                if await answers(port, path):
                    return
            await asyncio.sleep(0.1)


def _end_of(log: Path) -> str:
    return log.read_text()[-2_000:]
