"""The process that renders documents, as the process that serves them sees it."""

import asyncio
import base64
import json
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from billing.core.errors import Unavailable
from billing.money.documents.framing import LENGTH
from billing.money.documents.schemas import Printed

SECONDS: Final = 10.0
"""A document that takes longer is given up; three hundred lines take a tenth of a second."""
WAITING: Final = 50
"""Documents that may wait for their turn."""
OF_ONE: Final = 10
"""Documents of one account that may wait; only one at a time joins the common queue."""
PER_PROCESS: Final = 1_000
"""Documents after which the process is replaced, so that no cache of it grows for ever."""


class Unprintable(Unavailable):
    """The content of a document that cannot be rendered, however often it is asked for."""


class _Line:
    """The documents of one account, one after the other."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.waiting = 0


class Press:
    """One rendering process, started when it is first needed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._lines: dict[UUID, _Line] = {}
        self._process: Process | None = None
        self._printed = 0

    async def render(self, document: Printed, account_id: UUID | None = None) -> bytes:
        """Return the PDF; an account's documents wait in turn. Errors: DOCUMENT_UNAVAILABLE."""
        if account_id is None:
            return await self._in_turn(document)
        line = self._lines.setdefault(account_id, _Line())
        if line.waiting >= OF_ONE:
            raise _unavailable("too many documents of this account wait to be rendered")
        line.waiting += 1
        try:
            async with line.turn:
                return await self._in_turn(document)
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[account_id]

    async def _in_turn(self, document: Printed) -> bytes:
        if self._waiting >= WAITING:
            raise _unavailable("too many documents wait to be rendered")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._render(document)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _render(self, document: Printed) -> bytes:
        good = False
        try:
            async with asyncio.timeout(self._seconds):
                good, content = await self._asked(_message(document))
        except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise _unavailable("the document could not be rendered in time") from error
        finally:
            # An answer that is not read to its end would be taken for the next one.
            if not good or self._printed >= PER_PROCESS:
                await self.close()
        if not good:
            # For the log only: the words may name a path of this machine.
            why = RuntimeError(content.decode())
            raise Unprintable("DOCUMENT_UNAVAILABLE", "the document could not be rendered") from why
        return content

    async def _asked(self, message: bytes) -> tuple[bool, bytes]:
        if self._process is None or self._process.returncode is not None:
            words = ("-m", "billing.money.documents.printer")
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *words, stdin=PIPE, stdout=PIPE
            )
            self._printed = 0
        self._printed += 1
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process was started with pipes")
        stdin.write(LENGTH.pack(True, len(message)) + message)
        await stdin.drain()
        good, length = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
        return good, await stdout.readexactly(length)


def _message(document: Printed) -> bytes:
    logo = base64.b64encode(document.logo).decode() if document.logo else None
    asked: dict[str, Any] = {"content": document.content, "logo": logo}
    return json.dumps(asked).encode()


def _unavailable(why: str) -> Unavailable:
    return Unavailable("DOCUMENT_UNAVAILABLE", why)
