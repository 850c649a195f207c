"""`python -m benchmarks 1`: measure one group, print its table, write build/bench.json."""

import gc
import sys

import uvloop

from benchmarks import (
    beside,
    front_door,
    growth,
    importing,
    invoicing,
    jobs,
    mixed,
    months,
    peer,
    previews,
    purchases,
    rebuilding,
    recording,
    renewals,
    rounds,
)
from benchmarks.bench import open_bench
from benchmarks.ground import Fill, open_ground
from benchmarks.harness import Report

LIFE = [purchases, renewals, front_door]
# The last one leaves an account without credits.
METERING = [recording, growth, peer, importing, beside, mixed]
GROUPS = ("1", "2", "3", "5")


async def run(group: str) -> int:
    """Measure the group; the exit code counts missed bars."""
    report = Report()
    report.console.print(f"group {group}, seed {report.seed}")
    if group == "1":
        async with open_bench() as bench:
            for life in LIFE:
                await life.measure(bench, report)
    elif group == "3":
        # Before the ground, because filling it keeps the machine busy for a while.
        await invoicing.measure_documents(report)
        async with open_ground("invoices") as ground:
            await invoicing.measure(ground, report)
        async with open_bench() as bench:
            await previews.measure(bench, report)
    elif group == "5":
        # More customers, with the same usage per customer in both.
        async with open_ground(small=Fill(50_000, accounts=500)) as ground:
            await rounds.measure(ground, report)
        async with open_ground(large=Fill(100_000, accounts=100_000)) as ground:
            await rounds.measure_sync(ground, report)
            await jobs.measure(ground, report)
        async with open_bench() as bench:
            await rebuilding.measure(bench, report)
        async with open_ground(large=Fill(10_000), buffers=months.BUFFERS) as ground:
            await months.measure(ground, report)
    else:
        async with open_ground() as ground:
            for metering in METERING:
                await metering.measure(ground, report)
    return report.finish()


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "1"
    if name not in GROUPS:
        sys.exit(f"no benchmark group {name!r}: there are {', '.join(GROUPS)}")
    missed = uvloop.run(run(name))
    gc.collect()
    sys.exit(bool(missed))
