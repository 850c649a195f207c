"""Kills, holds and starts the parts of a running stack, for tests, demo and benchmarks.

Every method returns when its effect is complete: killed means reaped, started means healthy.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

from billing.core.frozen import Frozen
from cli.errors import StackError
from devstack.options import ChildName


class ChildStatus(Frozen):
    """The state of one child; `restarts` counts its deaths."""

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
        """Return the state, pid and number of deaths of each child."""
        return await self._order(status={})

    async def kill(self, child: ChildName, *, hold: bool = False) -> Statuses:
        """Send SIGKILL, and wait until the child has ended.

        The supervisor restarts it within 0.2 to 5 s; with `hold`, only `start` does.
        """
        return await self._order(kill=child, hold=hold)

    async def stop(self, child: ChildName) -> Statuses:
        """Stop a child properly and keep it down until `start`."""
        return await self._order(stop=child)

    async def start(self, child: ChildName) -> Statuses:
        """Start a held child; return when it is healthy."""
        return await self._order(start=child)

    async def restart(self, child: ChildName) -> Statuses:
        """Stop a child properly and start it at once; return when it is healthy."""
        return await self._order(restart=child)

    async def wait(self, child: ChildName) -> Statuses:
        """Return when a child is healthy, for example after a kill."""
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
