"""Recording into tables of ten million and one million uses; detaching one month of five."""

import statistics
from time import perf_counter
from typing import Final

import psycopg

from benchmarks.ground import ACCOUNTS, Ground, Site, run_script
from benchmarks.harness import ROUNDS, Report
from benchmarks.loads import FEATURE, Loads

SMALL: Final = 1_000_000
LARGE: Final = 10_000_000
BATCHES: Final = 15
WARM: Final = 150
"""Each page of an index is written whole once after a checkpoint; what is measured comes after."""
BUFFERS: Final = "2GB"
"""Room for the indexes of both months, as docs/sizing.md says."""
LAST: Final = "billing_records_last"


async def measure(ground: Ground, report: Report) -> None:
    """Half of the uses came last month, where each one that comes now is looked for."""
    for site, rows in ((ground.small, SMALL), (ground.large, LARGE)):
        began = perf_counter()
        _fill(site, rows // 2, rows // 2)
        report.console.print(f"  {rows} uses in {perf_counter() - began:.0f} s")
    sites = [Loads(ground, site) for site in (ground.small, ground.large)]
    for loads in sites:
        await loads.everybody(FEATURE)
        for _ in range(WARM):
            await loads.many(FEATURE)
    found: list[float] = []
    for _ in range(ROUNDS):
        few, many = [await _batches(loads) for loads in sites]
        found.append(many / few)
        report.console.print(f"  {few:.0f} rows/s with {SMALL}, {many:.0f} with {LARGE}")
    report.add("ingest_10m_vs_1m", found, "ratio", 0.85, 0.95)
    report.add("drop_month_s", [_let_go(ground.large)], "s", 1, 0.3, "lower")


def _fill(site: Site, rows: int, last: int) -> None:
    with psycopg.connect(site.url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        run_script(connection, "months", rows=rows, last=last, accounts=ACCOUNTS)
        connection.execute("VACUUM ANALYZE billing_records")
        connection.execute("CHECKPOINT")


async def _batches(loads: Loads) -> float:
    return statistics.median([await loads.many(FEATURE) for _ in range(BATCHES)])


def _let_go(site: Site) -> float:
    """Return the seconds until the month is detached from the table."""
    with psycopg.connect(site.url, autocommit=True) as connection:
        began = perf_counter()
        connection.execute(f"ALTER TABLE billing_records DETACH PARTITION {LAST}")
        return perf_counter() - began
