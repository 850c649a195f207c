"""CPU time of every process of the stack, from the scheduler's statistics.

A busy machine changes how long work takes, but hardly how much CPU it takes.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from benchmarks.bench import Bench

_NANOSECONDS: Final = 1e9


def used(bench: Bench) -> dict[int, float]:
    """Return the CPU seconds so far of each running process of the stack, without the load's."""
    roots = (psutil.Process(bench.stack.pid), psutil.Process())
    tree = [bench.stack.pid, *(one.pid for root in roots for one in root.children(recursive=True))]
    return {pid: _seconds(pid) for pid in tree}


def since(bench: Bench, before: dict[int, float]) -> float:
    """Return the CPU seconds that the stack has used since then."""
    return sum(now - before.get(pid, 0.0) for pid, now in used(bench).items())


def _seconds(pid: int) -> float:
    used = 0
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it has ended meanwhile
            used += int((thread / "schedstat").read_text().split()[0])
    return used / _NANOSECONDS
