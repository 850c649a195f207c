"""Posts bodies to one address over kept connections: a tenth of a full HTTP client's cost.

Events are most of what the sandbox sends, and it shares two cores with what it measures.
"""

import asyncio
from urllib.parse import SplitResult, urlsplit

MAX_HEAD = 65_536
MAX_KEPT_BODY = 65_536

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Poster:
    """HTTP/1.1 POST only; of an answer only the status is read."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the address of webhooks is not an http address: {url}")
        self._parts: SplitResult = parts
        self._timeout_seconds = timeout_seconds
        self._idle: list[Connection] = []
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        """Post and return the status; raise `OSError` or `TimeoutError` without an answer."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{self._head}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
        async with asyncio.timeout(self._timeout_seconds):
            while self._idle:
                try:
                    return await self._exchange(self._idle.pop(), request)
                except OSError:
                    continue  # the other side had closed it while it was idle
            return await self._exchange(await self._connect(), request)

    async def close(self) -> None:
        """Close the kept connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _connect(self) -> Connection:
        parts = self._parts
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return await asyncio.open_connection(
            parts.hostname, port, limit=MAX_HEAD, ssl=True if secure else None
        )

    async def _exchange(self, connection: Connection, request: bytes) -> int:
        reader, writer = connection
        keep = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            length = _length(head)
            keep = length is not None and "\r\nconnection: close" not in head
            if keep and length:
                await reader.readexactly(length)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            keep = False
            raise ConnectionError(str(error)) from error
        except (ValueError, IndexError) as error:
            raise ConnectionError("the answer is not HTTP") from error
        finally:
            if keep:
                self._idle.append(connection)
            else:
                writer.close()
        return status


def _length(head: str) -> int | None:
    """The length of a body short enough to read; None for any other body."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name == "content-length" and value.strip().isdigit():
            length = int(value)
            return length if length <= MAX_KEPT_BODY else None
    return None
