"""`python -m benchmarks 1`: measure one group, print its table, write build/bench.json."""

import asyncio
import gc
import sys

from benchmarks import front_door, purchases, renewals
from benchmarks.harness import Report
from benchmarks.world import open_world

GROUPS = {"1": [purchases, renewals, front_door]}


async def run(group: str) -> int:
    """Measure the group; the exit code counts missed bars."""
    report = Report()
    report.console.print(f"group {group}, seed {report.seed}")
    async with open_world() as world:
        for part in GROUPS[group]:
            await part.measure(world, report)
    return report.finish()


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "1"
    if name not in GROUPS:
        sys.exit(f"no benchmark group {name!r}: there are {', '.join(GROUPS)}")
    missed = asyncio.run(run(name))
    gc.collect()
    sys.exit(bool(missed))
