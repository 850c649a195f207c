"""A tiny HTTP/1.1 client over kept connections, too cheap to distort the measure."""

import asyncio
from collections import deque
from typing import Final

LENGTH: Final = b"content-length:"
LIMIT: Final = 1 << 20


class Wire:
    """Connections to one host; `post` answers the status."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """Send one body; return the status."""
        return (await self.ask("POST", path, body, headers))[0]

    async def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Send one request; return the status and the whole body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        reader, writer = await self._connection()
        writer.write(
            "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.lower().find(LENGTH)
        answer = b""
        if at >= 0:
            length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0])
            answer = await reader.readexactly(length)
        self._idle.append((reader, writer))
        return int(head[9:12]), answer

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            _, writer = self._idle.popleft()
            writer.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a kept connection that the host has not closed, else a new one."""
        while self._idle:
            reader, writer = self._idle.popleft()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port, limit=LIMIT)
