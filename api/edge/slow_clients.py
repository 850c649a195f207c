"""Drops clients that send slowly: a whole header comes within 10 seconds, a whole body within 30.

uvicorn waits for ever, and a client that sends a byte now and then holds a connection with it.
"""

from asyncio import BaseTransport, TimerHandle
from typing import Final, Literal

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.answers import problems
from api.edge.hosts import GUARDED

HEADER_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0

Part = Literal["first byte", "header", "body", "answer"]
"""The part of a request that comes next; at `answer` it is whole."""


class ImpatientProtocol(HttpToolsProtocol):
    """One connection. The clock of a part begins with it and never with one of its bytes."""

    seconds: dict[Part, float] = {  # noqa: RUF012 - tests have shorter ones
        "first byte": HEADER_SECONDS,
        "header": HEADER_SECONDS,
        "body": BODY_SECONDS,
    }
    _part: Part = "first byte"
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._expect("answer")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes. A request that comes whole needs no clock."""
        super().data_received(data)
        if self._part == "answer" and not self._answering():
            self._expect("first byte")  # bytes between requests have ended the clock of idleness
        if self._part != "answer" and self._deadline is None:
            self._watch()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._expect("header")

    def on_headers_complete(self) -> None:
        """The header is whole."""
        super().on_headers_complete()
        self._expect("body")

    def on_message_complete(self) -> None:
        """The body is whole."""
        super().on_message_complete()
        self._expect("answer")

    def _expect(self, part: Part) -> None:
        self._part = part
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(self.seconds[self._part], self._late)

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.pipeline or (self._part != "body" and self._answering()):
            self._watch()  # an earlier request is being answered, and nothing is read meanwhile
            return
        if self._part == "header" or (self._part == "body" and not self.cycle.response_started):
            self._refuse()
        if self._part == "body":
            self.cycle.disconnected = True
        self.transport.close()

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self) -> None:
        answer = problems.from_code("REQUEST_TIMEOUT")
        lines = [*answer.raw_headers, *GUARDED, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[408] + head + b"\r\n" + bytes(answer.body))
