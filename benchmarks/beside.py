"""Single uses beside batches, through two API processes, and against a plain debit in SQL."""

import random
from itertools import cycle
from time import perf_counter
from typing import Final, NamedTuple

import psycopg

from benchmarks.ground import ACCOUNTS, Ground, open_twin, run_script
from benchmarks.harness import ROUNDS, Report, pace, percentile
from benchmarks.loads import PAID, Loads, event
from benchmarks.recording import AT_ONCE

SECONDS: Final = 3.0
TURNS: Final = 2 * ROUNDS + 1
FEW: Final = 200
"""Accounts: so few that batches and single uses meet."""
BATCH: Final = 100
SHARE: Final = 0.1
"""Of all calls so many are batches."""


async def measure(ground: Ground, report: Report) -> None:
    """Measure the slowest single uses with and without batches, and the rates of each way."""
    found: dict[str, list[float]] = {}
    with psycopg.connect(ground.small.url, autocommit=True) as connection:
        run_script(connection, "plain")
    async with open_twin(ground) as twin:
        one, other = Caller(Loads(ground, ground.small)), Caller(Loads(ground, twin))
        for caller in (one, other):
            await caller.few(SHARE)
        ground.small.pgbench("plain_debit", accounts=ACCOUNTS)
        for _ in range(TURNS):
            for name, value in (await _turn(ground, one, other, report)).items():
                found.setdefault(name, []).append(value)
    add = report.add
    add("single_p99_beside_batches", found["beside"], "ratio", 4, 3, "lower")
    add("two_apis_vs_one", found["two"], "ratio", 0.90, 1.0)
    add("debit_vs_plain", found["plain"], "ratio", 0.40, 0.60)


async def _turn(ground: Ground, one: "Caller", other: "Caller", report: Report) -> dict[str, float]:
    alone = await one.few()
    both = await one.few(beside=other)
    mixed = await one.few(SHARE)
    plain = ground.small.pgbench("plain_debit", accounts=ACCOUNTS)
    many = await pace(SECONDS, AT_ONCE, one.loads.use)
    report.console.print(
        f"  uses of few: {alone.rate:.0f}/s, by two APIs {both.rate:.0f}/s; p99 {alone.p99:.4f} s,"
        f" beside batches {mixed.p99:.4f} s; of all {many:.0f}/s, plain debits {plain:.0f}/s"
    )
    return {
        "beside": mixed.p99 / alone.p99,
        "two": both.rate / alone.rate,
        "plain": many / plain,
    }


class Taken(NamedTuple):
    """Calls per second of all sorts, and the seconds within which 99 of 100 single uses ended."""

    rate: float
    p99: float


class Caller:
    """Paid uses of few accounts through one API."""

    def __init__(self, loads: Loads) -> None:
        self.loads = loads

    async def few(self, share: float = 0, *, beside: "Caller | None" = None) -> Taken:
        """Measure single uses; `share` of the calls are batches, every other call uses `beside`."""
        ways, taken = cycle((self, beside or self)), list[float]()

        async def once() -> None:
            caller = next(ways)
            if random.random() < share:
                await caller.batch()
                return
            began = perf_counter()
            await caller.loads.record(random.choice(caller.loads.accounts[:FEW]))
            taken.append(perf_counter() - began)

        rate = await pace(SECONDS, AT_ONCE, once)
        return Taken(rate, percentile(sorted(taken), 0.99))

    async def batch(self) -> None:
        """Send a batch: a paid use of each of some accounts."""
        some = random.sample(self.loads.accounts[:FEW], BATCH)
        await self.loads.each([(one, event(PAID)) for one in some])
