"""Recording through the API against what Postgres does alone; every floor in the same round."""

import statistics
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg

from benchmarks.ground import ACCOUNTS, Ground
from benchmarks.harness import ROUNDS, Report, pace
from benchmarks.loads import FEATURE, PAID, Loads, copy

AT_ONCE: Final = 64
SECONDS: Final = 3.0
BATCHES: Final = 9


async def measure(ground: Ground, report: Report) -> None:
    """Single debits, one hot account, batches, quotas, holds, and the memory all of it takes."""
    site = ground.small
    loads = Loads(ground, site)
    await _warm(loads)
    site.pgbench("quota", accounts=ACCOUNTS)
    found: dict[str, list[float]] = {}
    with psycopg.connect(site.url, autocommit=True) as connection:
        for _ in range(ROUNDS):
            for name, value in (
                *(await _singles(ground, loads, report)),
                *(await _batches(loads, connection, report)),
            ):
                found.setdefault(name, []).append(value)
    add = report.add
    add("debit_many_vs_floor", found["debit_many"], "ratio", 0.30, 0.60)
    add("debit_hot_vs_rowlock", found["debit_hot"], "ratio", 1.8, 3)
    add("usage_one_vs_copy", found["usage_one"], "ratio", 0.18, 0.30)
    add("usage_many_vs_copy", found["usage_many"], "ratio", 0.12, 0.18)
    add("quota_vs_insert", found["quota"], "ratio", 0.60, 0.80)
    add("hold_capture_vs_debit", found["hold"], "ratio", 0.35, 0.5)
    add("api_memory_mib", found["memory"], "MiB", 300, 250, better="lower")


async def _warm(loads: Loads) -> None:
    for once in (loads.use, loads.hot_use):
        await pace(SECONDS / 2, AT_ONCE, once)
    await pace(SECONDS / 2, AT_ONCE, loads.hold)
    for what in (FEATURE, PAID):
        await loads.everybody(what)
        await loads.one(what)


async def _singles(ground: Ground, loads: Loads, report: Report) -> list[tuple[str, float]]:
    site = loads.site
    floor = site.pgbench("debit", accounts=ACCOUNTS)
    many = await pace(SECONDS, AT_ONCE, loads.use)
    rowlock = site.pgbench("rowlock", account=ground.hot)
    hot = await pace(SECONDS, AT_ONCE, loads.hot_use)
    pairs = await pace(SECONDS, AT_ONCE, loads.hold)
    insert = site.pgbench("insert", accounts=ACCOUNTS)
    quota = site.pgbench("quota", accounts=ACCOUNTS)
    report.console.print(
        f"  debits {many:.0f}/s, function {floor:.0f}/s; hot {hot:.0f}/s, row lock {rowlock:.0f}/s;"
        f" holds {pairs:.0f}/s; quotas {quota:.0f}/s, inserts {insert:.0f}/s"
    )
    return [
        ("debit_many", many / floor),
        ("debit_hot", hot / rowlock),
        ("hold", pairs / many),
        ("quota", quota / insert),
        ("memory", site.memory_mib()),
    ]


async def _batches(
    loads: Loads, connection: psycopg.Connection, report: Report
) -> list[tuple[str, float]]:
    taken: dict[str, list[float]] = {}
    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "one": lambda: loads.one(FEATURE),
        "many": lambda: loads.many(FEATURE),
        "one paid": lambda: loads.one(PAID),
        "many paid": lambda: loads.many(PAID),
    }
    for _ in range(BATCHES):
        taken.setdefault("copy", []).append(copy(connection, loads.accounts))
        for name, way in ways.items():
            taken.setdefault(name, []).append(await way())
    medians = {name: statistics.median(values) for name, values in taken.items()}
    shown = ", ".join(f"{name} {value:.0f}/s" for name, value in medians.items())
    report.console.print(f"  rows: {shown}")
    return [
        ("usage_one", medians["one"] / medians["copy"]),
        ("usage_many", medians["many"] / medians["copy"]),
    ]
