"""Health check of a server of this stack: one HTTP request to 127.0.0.1.

It uses plain streams, so that the supervisor needs no HTTP client. In a container
`python -m cli.health PORT PATH [WORD]` is the health check.
"""

import asyncio
import sys
from typing import Final

HOST: Final = "127.0.0.1"
SERVING: Final = "temporal_num_pollers"
"""In the metrics of a worker from its first request for work on; they answer before it serves."""


async def answers(port: int, path: str, word: str = "") -> bool:
    """Return True if GET `path` is answered with 200 and this word. Errors: OSError if nothing
    listens.
    """
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        status = await reader.readline()
        body = await reader.read() if word else b""
    finally:
        writer.close()
    return b" 200 " in status and word.encode() in body


if __name__ == "__main__":
    sys.exit(not asyncio.run(answers(int(sys.argv[1]), *sys.argv[2:])))
