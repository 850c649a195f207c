"""A file of 200 MB sent by `billing usage import` to the API: peak memory of the client."""

import asyncio
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.ground import Ground
from benchmarks.harness import Report
from devstack.options import ROOT

FILE_BYTES: Final = 200_000_000
ROW: Final = {
    "feature_type": "impressions", "usage_amount": "1", "usage_details": {"note": "x" * 2_000},
}  # fmt: skip
LOOK_SECONDS: Final = 0.05
COMMAND: Final = "from cli.__main__ import app; app()"


async def measure(ground: Ground, report: Report) -> None:
    """Measure the peak of the client's resident memory, as the kernel reports it."""
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder:
        file = Path(folder) / "usage.jsonl"
        rows = _write(file)
        began = perf_counter()
        peak = await _send(ground, file)
        report.console.print(f"  import: {rows / (perf_counter() - began):.0f} rows/s")
    report.add("import_memory_mib", [peak], "MiB", 150, 120, better="lower")
    report.add(
        "api_memory_after_mib",
        [max(site.memory_mib() for site in (ground.small, ground.large))],
        "MiB", 300, 250, better="lower",
    )  # fmt: skip


def _write(file: Path) -> int:
    line = json.dumps(ROW).encode() + b"\n"
    thousands = FILE_BYTES // (len(line) * 1_000) + 1
    with file.open("wb") as out:
        for _ in range(thousands):
            out.write(line * 1_000)
    return thousands * 1_000


async def _send(ground: Ground, file: Path) -> float:
    token = ground.headers(ground.hot, "billing")["Authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, "usage", "import", str(file)),
        *("--url", f"http://127.0.0.1:{ground.stack.ports.api}", "--token", token),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python" / "src")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    done = asyncio.create_task(process.communicate())
    peak = 0.0
    while not done.done():
        peak = max(peak, _most(process.pid))
        await asyncio.wait([done], timeout=LOOK_SECONDS)
    said, _ = done.result()
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace")[-500:])
    return peak


def _most(pid: int) -> float:
    """Return the peak memory so far; the kernel keeps the peak, so rare reads suffice."""
    with suppress(OSError, ValueError):
        words = Path(f"/proc/{pid}/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) / 1024
    return 0.0
