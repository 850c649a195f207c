"""Renewals due in one second: how late the last is with its rows, and what each leaves behind."""

import asyncio
import sqlite3
from datetime import timedelta
from time import monotonic
from typing import Final

from benchmarks.bench import Bench
from benchmarks.harness import Report, spread

BURST: Final = 200
OPEN: Final = 1_000
AT_ONCE: Final = 16
LEAD: Final = timedelta(seconds=25)
PATIENCE_SECONDS: Final = 180
PAUSE_SECONDS: Final = 0.1
# The server keeps the timeouts of finished tasks until their time.
SETTLE_SECONDS: Final = 30


async def measure(bench: Bench, report: Report) -> None:
    """1,000 subscriptions, 200 of them due at one instant; then the size of Temporal's file."""
    before = _temporal_bytes(bench)
    accounts: list[str] = []

    async def subscribe() -> None:
        accounts.append(await bench.subscribed())

    await spread(OPEN, AT_ONCE, subscribe)
    report.console.print(f"  {OPEN} subscriptions open")
    lateness = []
    for first in range(0, 3 * BURST, BURST):
        lateness.append(await _burst(bench, accounts[first : first + BURST]))
        report.console.print(f"  {BURST} renewals: the last one {lateness[-1]:.1f} s late")
    report.add("renewal_burst_lateness_s", lateness, "s", 12, 6, "lower")
    for first in range(3 * BURST, OPEN, BURST):
        await _burst(bench, accounts[first : first + BURST])
    await asyncio.sleep(SETTLE_SECONDS)
    size = (_temporal_bytes(bench) - before) / OPEN / 1024
    report.add("open_subscription_kb", [size], "KiB", 35, 25, "lower")


async def _burst(bench: Bench, accounts: list[str]) -> float:
    """Make them due at one instant soon, wait for the last paid renewal; seconds it was late."""
    due = await bench.make_due(accounts, LEAD)
    await asyncio.sleep(max(0.0, due - monotonic()))
    deadline = monotonic() + PATIENCE_SECONDS
    while await bench.unpaid_renewals(accounts):
        if monotonic() > deadline:
            raise TimeoutError("the renewals did not all happen")
        await asyncio.sleep(PAUSE_SECONDS)
    return monotonic() - due


def _temporal_bytes(bench: Bench) -> int:
    with sqlite3.connect(bench.stack.data / "temporal.db") as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size = (
            file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        free = file.execute("PRAGMA freelist_count").fetchone()[0]
    return int((pages - free) * size)
