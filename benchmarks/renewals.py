"""Renewals due in one second: delay of the last, and what each stores and costs."""

import asyncio
import sqlite3
from time import monotonic
from typing import Final

from benchmarks import cpu
from benchmarks.bench import Bench
from benchmarks.harness import Report, spread

BURST: Final = 200
OPEN: Final = 1_000
COSTED: Final = 100
TURNS: Final = 4
DECLINED: Final = 20
"""Every twentieth card is."""
AT_ONCE: Final = 16
LEAD_SECONDS: Final = 60
"""Time for all of them to subscribe: some 35 seconds on a slow machine."""
PATIENCE_SECONDS: Final = 180
PAUSE_SECONDS: Final = 0.1
# The server keeps the timeouts of finished tasks until their time.
SETTLE_SECONDS: Final = 30


async def measure(bench: Bench, report: Report) -> None:
    """Measure 1,000 subscriptions, 200 due at one instant; then the size of Temporal's file."""
    before = _temporal_bytes(bench)
    lateness = []
    for _ in range(OPEN // BURST):
        accounts, due = await _subscribed(bench, BURST)
        await _decided(bench, accounts, due)
        lateness.append(monotonic() - due)
        report.console.print(f"  {BURST} renewals: the last one {lateness[-1]:.1f} s late")
    report.add("renewal_burst_lateness_s", lateness, "s", 5, 4, "lower")
    await asyncio.sleep(SETTLE_SECONDS)
    size = (_temporal_bytes(bench) - before) / OPEN / 1024
    report.add("open_subscription_kb", [size], "KiB", 27, 25, "lower")
    costs = [await _cost(bench, report) for _ in range(TURNS)]
    report.add("renewal_cpu_vs_noop", costs, "ratio", 2.3, 1.6, "lower")
    whole = [await _cost(bench, report, expires=True) for _ in range(TURNS // 2)]
    report.add("renewal_and_expiry_cpu_vs_noop", whole, "ratio", 4, 3, "lower")


async def _subscribed(
    bench: Bench, count: int, *, expires: bool = False
) -> tuple[list[str], float]:
    """Create accounts whose subscriptions are all due at one instant; return it as well."""
    due = monotonic() + LEAD_SECONDS
    accounts: list[str] = []

    async def subscribe() -> None:
        accounts.append(await bench.subscribed(due, expires=expires))

    await spread(count, AT_ONCE, subscribe)
    if monotonic() > due:
        raise TimeoutError("they were due before all had subscribed")
    return accounts, due


async def _cost(bench: Bench, report: Report, *, expires: bool = False) -> float:
    """Return the CPU of typical renewals ÷ that of empty workflows: each has a usage line, some a
    declined card; with `expires` the cycle's credits expire, too.
    """
    chosen, due = await _subscribed(bench, COSTED, expires=expires)
    await asyncio.gather(*map(bench.spend_beyond, chosen))
    await asyncio.gather(*map(bench.decline_next, chosen[::DECLINED]))
    # All of that has finished by then.
    await asyncio.sleep(max(0.0, due - monotonic() - 1))
    before = cpu.used(bench)
    if expires:
        # The sweep takes up to a minute for it, of which an idle stack's share is no cost of them.
        await bench.start_accounts(chosen)
    await _decided(bench, chosen, due, expires=expires)
    renewals = cpu.since(bench, before)
    before = cpu.used(bench)
    await spread(len(chosen), AT_ONCE, bench.noop)
    empty = cpu.since(bench, before)
    report.console.print(
        f"  a renewal{' and expiry' if expires else ''} {renewals / len(chosen) * 1000:.1f} ms of"
        f" CPU, noop {empty / len(chosen) * 1000:.1f} ms"
    )
    return renewals / empty


async def _decided(bench: Bench, accounts: list[str], due: float, *, expires: bool = False) -> None:
    """Wait until all are charged or declined; with `expires` until their accounts rest."""
    await asyncio.sleep(max(0.0, due - monotonic()))
    deadline = monotonic() + PATIENCE_SECONDS
    while await bench.undecided_renewals(accounts) or (
        expires and await bench.accounts_at_work(accounts)
    ):
        if monotonic() > deadline:
            raise TimeoutError("the renewals did not all happen")
        await asyncio.sleep(PAUSE_SECONDS)


def _temporal_bytes(bench: Bench) -> int:
    with sqlite3.connect(bench.stack.data / "temporal.db") as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size = (
            file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        free = file.execute("PRAGMA freelist_count").fetchone()[0]
    return int((pages - free) * size)
