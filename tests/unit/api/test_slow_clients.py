"""A connection on which too little comes is ended: raw sockets, and a server that listens."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from api.app import create_app
from api.edge.slow_clients import (
    ANSWER_BYTES,
    ANSWER_SECONDS,
    BODY_SECONDS,
    HEADER_BYTES,
    HEADER_SECONDS,
    REQUEST_BYTES,
    ImpatientProtocol,
    Part,
)
from api.server import server_config
from billing.core.settings import Settings
from tests.unit.api.conftest import lonely_settings

HEAD = b"POST /api/v1/webhooks/stripe HTTP/1.1\r\nhost: api\r\ncontent-length: 40\r\n"
WHOLE = b"GET /api/v1/meta/features HTTP/1.1\r\nhost: api\r\n\r\n"
HEADER_TIME, BODY_TIME, ANSWER_TIME = 0.5, 1.0, 1.0
PATIENCE = 60.0


class Hasty(ImpatientProtocol):
    """With less patience than outside of tests."""

    seconds: dict[Part, float] = {  # noqa: RUF012
        "first byte": HEADER_TIME, "header": HEADER_TIME, "body": BODY_TIME, "answer": ANSWER_TIME,
    }  # fmt: skip


@asynccontextmanager
async def serving(
    app: FastAPI, settings: Settings, protocol: type[ImpatientProtocol] = Hasty
) -> AsyncIterator[int]:
    config = server_config(app, settings)
    config.http, config.port, config.lifespan = protocol, 0, "off"
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by an attribute
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    async with serving(app, lonely_settings()) as listening:
        yield listening


@pytest.fixture
async def patient(app: FastAPI) -> AsyncIterator[int]:
    """A port for what is decided by bytes and not by time, however slow the machine is."""
    async with serving(app, lonely_settings(), ImpatientProtocol) as listening:
        yield listening


class Client:
    """One socket, opened at an instant."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, since: float
    ) -> None:
        self.reader, self.writer, self.since = reader, writer, since

    async def trickle(self, data: bytes) -> tuple[bytes, float]:
        """As `rest`, while data goes out byte by byte: the server closes before it has come.

        Its bytes take at least twice as long as the server may wait for all, on any machine.
        """
        unsent = list(data)

        async def send() -> None:
            while unsent and not self.reader.at_eof():
                self.writer.write(bytes([unsent.pop(0)]))
                await asyncio.sleep(2 * BODY_TIME / len(data))

        sending = asyncio.create_task(send())
        seen, after = await self.rest()
        sending.cancel()
        assert unsent, "it closed only when nothing more came"
        return seen, after

    async def rest(self) -> tuple[bytes, float]:
        """All that comes until the server closes, and when that was.

        A byte that was on its way when it closed is answered with a reset.
        """
        seen = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(PATIENCE):
                while part := await self.reader.read(65_536):
                    seen += part
        self.writer.close()
        return seen, monotonic() - self.since


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    since = monotonic()  # before the server's clock begins
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer, since)
    finally:
        writer.close()


def test_the_patience_is_what_the_rules_say() -> None:
    assert (HEADER_SECONDS, BODY_SECONDS, ANSWER_SECONDS) == (10.0, 30.0, 30.0)
    config = server_config(create_app(lonely_settings()), lonely_settings())
    assert config.http is ImpatientProtocol
    assert not config.server_header


async def test_a_connection_without_a_byte_is_closed(port: int) -> None:
    async with connected(port) as client:
        seen, after = await client.rest()
    assert (seen, after >= HEADER_TIME) == (b"", True)


async def test_a_header_that_trickles_is_refused(port: int) -> None:
    async with connected(port) as client:
        seen, after = await client.trickle(HEAD)
    assert seen.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), seen
    assert b'"code":"REQUEST_TIMEOUT"' in seen
    assert b"connection: close" in seen
    assert after >= HEADER_TIME


FILLED = b"GET /health HTTP/1.1\r\nhost: api\r\na: "


@pytest.mark.parametrize(
    "header",
    [
        FILLED + b"x" * HEADER_BYTES,
        b"GET /" + b"x" * HEADER_BYTES,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_930,
        FILLED + b"x" * HEADER_BYTES + b"\r\n\r\n",
    ],
    ids=["a field without an end", "a path without an end", "ever more fields", "whole at once"],
)
async def test_a_long_header_is_refused_at_once(patient: int, header: bytes) -> None:
    async with connected(patient) as client:
        client.writer.write(header)
        seen, _ = await client.rest()
    # In time, or else it would be 408.
    assert seen.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"), seen
    assert b'"code":"HEADER_TOO_LARGE"' in seen
    assert seen.count(b"HTTP/1.1") == 1


async def test_a_header_of_the_largest_size_is_served_again_and_again(patient: int) -> None:
    header = FILLED.replace(b"health", b"api/v1/meta/features")
    header += b"x" * (HEADER_BYTES - len(header) - 4) + b"\r\n\r\n"
    assert len(header) == HEADER_BYTES
    async with connected(patient) as client:
        for _ in range(2):
            client.writer.write(header)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await client.reader.readexactly(length)


async def test_a_body_refused_by_its_length_is_taken_and_dropped(patient: int) -> None:
    """Closing on bytes that nobody reads would reset the connection, and lose the answer."""
    size = REQUEST_BYTES + 1_000_000
    async with connected(patient) as client:
        client.writer.write(HEAD.replace(b"40", b"%d" % size) + b"\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        client.writer.write(b"x" * size)
        client.writer.write(WHOLE)
        seen = await client.reader.readuntil(b"HTTP/1.1 200 ")
    assert b'"code":"BODY_TOO_LARGE"' in seen


async def test_a_long_header_behind_another_request_is_no_answer_to_that(app: FastAPI) -> None:
    begun, closed = asyncio.Event(), asyncio.Event()

    async def slowly() -> dict[str, bool]:
        begun.set()
        await closed.wait()
        return {"done": True}

    app.add_api_route("/slow", slowly)
    async with serving(app, lonely_settings()) as port, connected(port) as client:
        client.writer.write(b"GET /slow HTTP/1.1\r\nhost: api\r\n\r\n")
        await begun.wait()
        client.writer.write(FILLED + b"x" * HEADER_BYTES)
        seen, _ = await client.rest()
        closed.set()
    assert seen == b""


@pytest.mark.parametrize(
    ("status", "rest"),
    [
        (b"431", b"0\r\n" + b"a: b\r\n" * 32_760),
        (b"413", b"0\r\na: " + b"x" * REQUEST_BYTES),
        (b"413", b"1;" + b"x" * REQUEST_BYTES),
    ],
    ids=["ever more fields", "a field without an end", "an extension without an end"],
)
async def test_what_surrounds_a_body_has_an_end(patient: int, status: bytes, rest: bytes) -> None:
    async with connected(patient) as client:
        client.writer.write(HEAD.replace(b"content-length: 40", b"transfer-encoding: chunked"))
        client.writer.write(b"\r\n" + rest)
        seen, _ = await client.rest()
    assert seen.startswith(b"HTTP/1.1 " + status), seen


async def test_what_is_not_http_is_refused(patient: int) -> None:
    async with connected(patient) as client:
        client.writer.write(b"\0\r\n\r\n")
        seen, _ = await client.rest()
    assert seen.startswith(b"HTTP/1.1 400 "), seen


async def test_a_body_that_trickles_is_refused(port: int) -> None:
    async with connected(port) as client:
        client.writer.write(HEAD + b"\r\n")
        seen, after = await client.trickle(b" " * 39)
    assert seen.startswith(b"HTTP/1.1 408 "), seen
    assert after >= BODY_TIME


async def test_a_body_that_nobody_reads_is_not_waited_for(port: int) -> None:
    async with connected(port) as client:
        client.writer.write(WHOLE.replace(b"\r\n\r\n", b"\r\ncontent-length: 40\r\n\r\n"))
        seen, after = await client.trickle(b" " * 39)
    assert seen.startswith(b"HTTP/1.1 200 "), seen
    assert seen.count(b"HTTP/1.1") == 1
    assert after >= BODY_TIME


async def test_bytes_between_requests_do_not_hold_a_connection(port: int) -> None:
    async with connected(port) as client:
        client.writer.write(WHOLE)
        await client.reader.readuntil(b"\r\n\r\n")
        client.since = monotonic()
        _, after = await client.trickle(b"\r\n" * 20)
    assert after >= HEADER_TIME


async def test_an_idle_connection_is_kept_between_requests(port: int) -> None:
    async with connected(port) as client:
        for _ in range(2):
            client.writer.write(WHOLE)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await client.reader.readexactly(length)
            await asyncio.sleep(HEADER_TIME + 0.2)


async def test_a_request_that_is_answered_slowly_is_not_cut_off(app: FastAPI) -> None:
    async def slowly() -> dict[str, bool]:
        await asyncio.sleep(BODY_TIME + HEADER_TIME)
        return {"done": True}

    app.add_api_route("/slow", slowly)
    async with serving(app, lonely_settings()) as port, connected(port) as client:
        # The header of a next one has begun, and the server answers the first before it reads on.
        client.writer.write(b"GET /slow HTTP/1.1\r\nhost: api\r\n\r\nGET /sl")
        seen, _ = await client.rest()
    assert b'{"done":true}' in seen, seen


@asynccontextmanager
async def streaming(app: FastAPI, pages: int) -> AsyncIterator[tuple[Client, asyncio.Event]]:
    """A client that has asked for a long answer and read its first bytes; set once that ended.

    The sockets hold little, so that the server is soon left with what the client does not read.
    """
    ended = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        try:
            for _ in range(pages):
                yield b"x" * 2 * ANSWER_BYTES
        finally:
            ended.set()

    async def long() -> StreamingResponse:
        return StreamingResponse(parts())

    app.add_api_route("/long", long)
    async with serving(app, lonely_settings()) as port:
        mine = socket.socket()
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mine.setblocking(False)
        await asyncio.get_running_loop().sock_connect(mine, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=mine, limit=ANSWER_BYTES // 2)
        writer.write(b"GET /long HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        try:
            yield Client(reader, writer, monotonic()), ended
        finally:
            writer.transport.abort()


async def test_an_answer_that_nobody_reads_is_ended(app: FastAPI) -> None:
    async with streaming(app, pages=1000) as (client, ended):
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        assert monotonic() - client.since >= ANSWER_TIME
        seen, _ = await client.rest()
    assert not seen.endswith(b"0\r\n\r\n"), "it breaks off"


async def test_a_rest_that_nobody_reads_is_ended_however_small(app: FastAPI) -> None:
    made: list[Hasty] = []

    class Seen(Hasty):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(self)
            super().connection_made(transport)

    async def page() -> Response:
        return Response(b"x" * (ANSWER_BYTES - 6000))

    app.add_api_route("/page", page)
    async with serving(app, lonely_settings(), Seen) as port, asyncio.timeout(PATIENCE):
        with socket.socket() as mine:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mine.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(mine, ("127.0.0.1", port))
            while not made or not made[0].transport.get_write_buffer_size():
                await loop.sock_sendall(mine, b"GET /page HTTP/1.1\r\nhost: api\r\n\r\n")
                await asyncio.sleep(0.1)
            since = monotonic()
            assert made[0].transport.get_write_buffer_size() < ANSWER_BYTES
            while made[0].transport.get_write_buffer_size():  # noqa: ASYNC110 - nobody tells it
                await asyncio.sleep(0.05)
            assert monotonic() - since >= ANSWER_TIME - 0.2


async def test_an_answer_of_which_a_few_bytes_are_read_is_ended(app: FastAPI) -> None:
    async with streaming(app, pages=1000) as (client, ended), asyncio.timeout(PATIENCE):
        while not ended.is_set():
            await client.reader.read(100)
            await asyncio.sleep(ANSWER_TIME / 10)


async def test_an_answer_that_is_read_slowly_comes_whole(app: FastAPI) -> None:
    """Six times as fast as it must, and still slower than the system would notice by itself."""
    seen, pages = 0, 24
    async with streaming(app, pages) as (client, ended), asyncio.timeout(PATIENCE):
        while part := await client.reader.read(ANSWER_BYTES // 8):
            seen += len(part)
            await asyncio.sleep(ANSWER_TIME / 50)
    assert ended.is_set()
    assert seen > pages * 2 * ANSWER_BYTES
    assert monotonic() - client.since > 2 * ANSWER_TIME


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [("", "127.0.0.1"), ("127.0.0.1", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")],
)
async def test_an_address_is_believed_of_a_trusted_proxy_only(
    app: FastAPI, trusted: str, seen: str
) -> None:
    async def mine(request: Request) -> str:
        return request.client.host if request.client else ""

    app.add_api_route("/mine", mine)
    head = b"GET /mine HTTP/1.1\r\nhost: api\r\nx-forwarded-for: 192.0.2.7\r\nconnection: close"
    settings = lonely_settings(BILLING_TRUSTED_PROXIES=trusted)
    async with serving(app, settings) as port, connected(port) as client:
        client.writer.write(head + b"\r\n\r\n")
        answer, _ = await client.rest()
    assert answer.endswith(f'"{seen}"'.encode()), answer


def test_a_proxy_is_an_address_and_not_a_name() -> None:
    with pytest.raises(ValidationError, match="BILLING_TRUSTED_PROXIES"):
        lonely_settings(BILLING_TRUSTED_PROXIES="proxy.example")
