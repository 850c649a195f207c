"""Drops clients that send slowly or without an end, and those that do not read their answers.

A whole header comes within 10 seconds and has at most 65,536 bytes; a whole body comes within 30.
Of an answer, a client takes 65,536 bytes or the rest within 30. uvicorn waits for ever and keeps
whatever comes, before it is known who sends it.
"""

from asyncio import BaseTransport, TimerHandle
from itertools import chain
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT
from typing import Final, Literal

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.answers import problems
from api.edge.hosts import GUARDED
from api.edge.request_limits import BODY_BYTES

HEADER_BYTES: Final = 65_536
HEADER_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
ANSWER_BYTES: Final = 65_536
ANSWER_SECONDS: Final = 30.0
# A body in chunks of one byte takes six bytes for each.
REQUEST_BYTES: Final = 8 * BODY_BYTES

Part = Literal["first byte", "header", "body", "answer"]
"""The part of a request that comes next; at `answer` it is whole."""


class ImpatientProtocol(HttpToolsProtocol):
    """One connection. The clock of a part begins with it and never with one of its bytes."""

    seconds: dict[Part, float] = {  # noqa: RUF012 - tests have shorter ones
        "first byte": HEADER_SECONDS,
        "header": HEADER_SECONDS,
        "body": BODY_SECONDS,
        "answer": ANSWER_SECONDS,
    }
    url: bytes = b""  # until uvicorn sets it with the first request
    _part: Part = "first byte"
    _taken: int = 0
    _deadline: TimerHandle | None = None
    _reading: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        # Else nothing is told of a rest of up to 64 KiB: what is not sent at once is waited for.
        self.transport.set_write_buffer_limits(0)
        # The system would hold megabytes, and take more only once a third of them is read: of a
        # slow client nothing would be seen for long.
        transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, ANSWER_BYTES)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._expect("answer")
        super().connection_lost(exc)
        self._read()

    def pause_writing(self) -> None:
        """Begin to wait for a client that has more of its answer than it takes."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The client has taken what there was."""
        super().resume_writing()
        self._read()

    def data_received(self, data: bytes) -> None:
        """Take some bytes. A request that comes whole needs no clock."""
        self._taken += len(data)
        super().data_received(data)
        if self._part == "header" and self._taken > HEADER_BYTES:
            self._end("HEADER_TOO_LARGE")
        elif self._part == "body" and self._taken > REQUEST_BYTES and self._answering():
            self._end("BODY_TOO_LARGE")  # once it is answered, closing could lose the answer
        elif self._part == "body" and self._is_long():  # fields may follow a body in chunks
            self._end("HEADER_TOO_LARGE")
        if self._part == "answer" and not self._answering():
            self._expect("first byte")  # bytes between requests have ended the clock of idleness
        if self._part != "answer" and self._deadline is None:
            self._watch()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._expect("header")

    def on_headers_complete(self) -> None:
        """The header is whole. Raises ValueError for a long one that came at once."""
        if self._is_long():
            raise ValueError("a long header")
        super().on_headers_complete()
        self._expect("body")

    def on_message_complete(self) -> None:
        """The body is whole."""
        super().on_message_complete()
        self._taken = 0
        self._expect("answer")

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses: a long header, else what is not HTTP."""
        if self._is_long():
            self._end("HEADER_TOO_LARGE")
        else:
            super().send_400_response(msg)

    def _is_long(self) -> bool:
        names_and_values = chain.from_iterable(self.headers or ())
        return len(self.url) + sum(map(len, names_and_values)) > HEADER_BYTES

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
        self._end("REQUEST_TIMEOUT")

    def _await_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.seconds["answer"], self._unread, unread)

    def _unread(self, before: int) -> None:
        """End a connection whose client has taken too little; what it left is thrown away."""
        if before - self.transport.get_write_buffer_size() < ANSWER_BYTES:
            self.transport.abort()
        else:
            self._await_reader()

    def _read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _end(self, code: str) -> None:
        """Close the connection, with an answer if it is this request's turn to have one."""
        if self._part == "body":
            if not (self.pipeline or self.cycle.response_started):
                self._refuse(code)
            self.cycle.disconnected = True
        elif self._part == "header" and not self._answering():
            self._refuse(code)
        self.transport.close()

    def _refuse(self, code: str) -> None:
        answer = problems.from_code(code)
        lines = [*answer.raw_headers, *GUARDED, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + bytes(answer.body))
