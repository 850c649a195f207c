"""The supervisor's private socket, by which tests and demo stop, kill and start children.

One line of JSON in, one line out; `devstack.control.StackControl` is the client.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cli.errors import StackError
from devstack.options import ChildName
from devstack.process import Child

Order = Mapping[str, Any]


class Orders:
    """Carries out orders on the children of one supervisor."""

    def __init__(
        self, children: Mapping[ChildName, Child], forget_temporal: Callable[[], None]
    ) -> None:
        self._children = children
        self._forget_temporal = forget_temporal
        self._server: asyncio.Server | None = None
        self._verbs: dict[str, Callable[[Order], Awaitable[None]]] = {
            "status": self._nothing,
            "kill": self._kill,
            "stop": self._stop,
            "start": self._start,
            "restart": self._restart,
            "wait": self._wait,
            "reset_temporal": self._reset_temporal,
        }

    async def listen(self, path: Path) -> None:
        """Serve on the socket until `close`."""
        self._server = await asyncio.start_unix_server(self._converse, path)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._run_command(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return  # the caller is gone; its order was carried out
        finally:
            writer.close()

    async def _run_command(self, line: bytes) -> dict[str, Any]:
        try:
            order = json.loads(line)
            verb = next(name for name in self._verbs if name in order)
            await self._verbs[verb](order)
        except StackError as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, TypeError, StopIteration):
            return {"ok": False, "error": f"an order is one of {', '.join(self._verbs)}"}
        return {"ok": True, "children": {name: _shown(c) for name, c in self._children.items()}}

    def _child(self, name: Any) -> Child:
        if name not in self._children:
            raise StackError(f"unknown child {name!r}; known are {', '.join(self._children)}")
        return self._children[name]

    async def _nothing(self, order: Order) -> None:
        """Do nothing: the order only asks for the state."""

    async def _kill(self, order: Order) -> None:
        await self._child(order["kill"]).kill(hold=bool(order.get("hold", False)))

    async def _stop(self, order: Order) -> None:
        await self._child(order["stop"]).stop()

    async def _start(self, order: Order) -> None:
        await self._child(order["start"]).begin_again()

    async def _restart(self, order: Order) -> None:
        child = self._child(order["restart"])
        await child.stop()
        await child.begin_again()

    async def _wait(self, order: Order) -> None:
        await self._child(order["wait"]).wait_ready()

    async def _reset_temporal(self, _: Order) -> None:
        child = self._child("temporal")
        await child.stop()
        self._forget_temporal()
        await child.begin_again()


def _shown(child: Child) -> dict[str, Any]:
    return {"state": child.state, "pid": child.pid, "restarts": child.restarts}
