"""Incidents of the machine and of its secrets: a port, a disk, a key of tokens."""

import asyncio
import logging
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Final

import httpx2

from api.app import create_app
from billing.core.database import open_database
from cli import doctor_checks
from cli.errors import StackError
from devstack.launch import launch, stop
from devstack.options import Options
from tests.integration.actors import API, Actors
from tests.integration.api_app import stack_settings
from workflows.client import connect

DISK_LEFT: Final = doctor_checks.DISK_LEFT
SETTING: Final = "STACK_POSTGRES_PORT"


async def fill_disk(actors: Actors) -> None:
    """The doctor's limit is raised: nobody fills a disk for a drill."""
    doctor_checks.DISK_LEFT = 1.0  # type: ignore[misc]


async def make_room(actors: Actors) -> None:
    """There is room again."""
    doctor_checks.DISK_LEFT = DISK_LEFT  # type: ignore[misc]


class PortTaken:
    """Another program listens where a stack wants to."""

    def __init__(self) -> None:
        self.folder = Path()
        self.said = ""

    async def plant(self, actors: Actors) -> None:
        """Start a stack's Postgres on the port of another program."""
        self.folder = Path(tempfile.mkdtemp(prefix="billing-port-"))
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            try:
                await self._start(other.getsockname()[1])
            except StackError as refused:
                self.said = str(refused)

    async def look(self, actors: Actors) -> str:
        """The words of `make up`."""
        return self.said

    async def mend(self, actors: Actors) -> None:
        """Another port, by the setting that is named."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        try:
            await self._start(port)
        finally:
            await asyncio.to_thread(stop, self.folder / "data")
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _start(self, port: int) -> None:
        options = Options(
            data=self.folder / "data", children=("postgres",), ui=False, owner=os.getpid()
        )
        os.environ[SETTING] = str(port)
        try:
            await asyncio.to_thread(launch, options)
        finally:
            del os.environ[SETTING]


class OldTokens(logging.Handler):
    """The key of tokens was replaced, and callers still sign with the old one."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""
        self.new = secrets.token_hex(32)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what the API logs."""
        self.said = record.getMessage()

    async def plant(self, actors: Actors) -> None:
        """An API that knows the new key alone."""
        logger = logging.getLogger("api.auth")
        logger.addHandler(self)
        level = logger.level
        logger.setLevel(logging.INFO)
        try:
            status = await self._asked(actors, self.new)
        finally:
            logger.setLevel(level)
            logger.removeHandler(self)
        assert status == 401, status

    async def look(self, actors: Actors) -> str:
        """The API's log."""
        return self.said

    async def mend(self, actors: Actors) -> None:
        """`JWT_SECRET=new,old` until the last token of the old one has expired."""
        status = await self._asked(actors, f"{self.new},{actors.stack.jwt_secret}")
        assert status == 200, status

    async def _asked(self, actors: Actors, secret: str) -> int:
        """The status of a request with a token of the old key."""
        settings = stack_settings(actors.stack, jwt_secret=secret)
        async with open_database(settings) as database:
            app = create_app(settings, database, await connect(settings))
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
                headers = actors.headers("*", "admin")
                answer = await client.get(f"{API}/admin/accounts", headers=headers)
        return answer.status_code


PORT: Final = PortTaken()
TOKENS: Final = OldTokens()
