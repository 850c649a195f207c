"""A file of 200 MB passes through the client in little memory, and so does a spool of events.

The API's part is played by a small server that takes everything: it is the client that is measured.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from devstack.options import ROOT
from tests.integration.client.conftest import CLIENT_SOURCE

FILE_BYTES = 200_000_000
LIMIT_BYTES = 150 * 1024 * 1024
ROW_BYTES = 2_000

IMPORT = """
import sys
from pathlib import Path
sys.argv = ["billing", *sys.argv[1:]]
from cli.__main__ import app
try:
    app()
finally:
    words = Path("/proc/self/status").read_text().split()
    print("peak", int(words[words.index("VmHWM:") + 1]) * 1024)
"""


class Taking(BaseHTTPRequestHandler):
    """Takes every row of every batch, and reads no more of it than its number of lines."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # head and body in one packet: two wait for each other's acknowledgement
    rows: ClassVar[int] = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        rows = body.count(b'"event_id"')
        type(self).rows += rows
        answer = json.dumps({"results": [{"status": "recorded"}] * rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def taking() -> Iterator[str]:
    """The address of the small server."""
    Taking.rows = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
def test_a_file_of_200_mb_passes_in_little_memory(taking: str, tmp_path: Path) -> None:
    file = tmp_path / "usage.jsonl"
    row = {"product_id": "gpt-4", "usage_amount": "1", "usage_details": {"note": "x" * ROW_BYTES}}
    line = json.dumps(row).encode() + b"\n"
    count = FILE_BYTES // len(line) + 1
    with file.open("wb") as out:
        for _ in range(count // 1_000):
            out.write(line * 1_000)
        out.write(line * (count % 1_000))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, "usage", "import", str(file), "--url", taking,
         "--token", "t"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(CLIENT_SOURCE), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert f"{count} recorded" in done.stdout, done.stdout + done.stderr
    assert Taking.rows == count
    peak = int(done.stdout.split()[-1])
    assert peak < LIMIT_BYTES, f"{peak} bytes at most"
