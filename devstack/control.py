"""Kill, hold and start the parts of a running stack, from tests, demo and benchmarks.

Every method returns when the thing has happened: dead means reaped, started means healthy.
"""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any, Literal

from billing.core.frozen import Frozen
from cli.errors import StackError
from devstack.options import ChildName


class ChildStatus(Frozen):
    """One child now; `restarts` counts its deaths."""

    state: Literal["starting", "ready", "pausing", "held"]
    pid: int | None
    restarts: int


Statuses = dict[ChildName, ChildStatus]


class StackControl:
    """Speaks to the supervisor on its socket (`StackInfo.control`).

    Errors of every method: StackError with the supervisor's sentence.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def status(self) -> Statuses:
        """State, pid and number of deaths of each child."""
        return await self._order(status={})

    async def kill(
        self, child: ChildName, *, signal_number: int = signal.SIGKILL, hold: bool = False
    ) -> Statuses:
        """Send a signal; after KILL, TERM and INT wait until it is gone.

        It comes back by itself in 0.2 to 5 s, unless `hold`: then `start` brings it back.
        """
        return await self._order(kill=child, signal=int(signal_number), hold=hold)

    async def stop(self, child: ChildName) -> Statuses:
        """Stop it properly and keep it down until `start`."""
        return await self._order(stop=child)

    async def start(self, child: ChildName) -> Statuses:
        """Start what was kept stopped; returns when it is healthy."""
        return await self._order(start=child)

    async def restart(self, child: ChildName) -> Statuses:
        """Stop it properly and start it at once; returns when it is healthy."""
        return await self._order(restart=child)

    async def wait(self, child: ChildName) -> Statuses:
        """Return when it is healthy, for instance again after a kill."""
        return await self._order(wait=child)

    async def reset_temporal(self) -> Statuses:
        """Stop Temporal, delete its database, start it: every workflow is lost."""
        return await self._order(reset_temporal=True)

    async def _order(self, **order: Any) -> Statuses:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError as error:
            raise StackError("the stack's supervisor does not answer: is it running?") from error
        try:
            writer.write(json.dumps(order).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise StackError("the stack stopped before it answered")
        answer = json.loads(line)
        if not answer["ok"]:
            raise StackError(answer["error"])
        return {name: ChildStatus(**shown) for name, shown in answer["children"].items()}
