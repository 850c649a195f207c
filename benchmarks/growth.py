"""The same calls with a million rows of history and with ten thousand, turn by turn."""

import statistics
from time import perf_counter
from typing import Final

from benchmarks.ground import Ground
from benchmarks.harness import ROUNDS, Report, pace, percentile
from benchmarks.loads import FEATURE, Loads, Once
from benchmarks.recording import AT_ONCE

SECONDS: Final = 2.0
BATCHES: Final = 7
READS: Final = 200
Read = tuple[str, int]
LEDGER: Final = "/billing/credits/transactions?limit=50"
PATHS: Final = {
    "balance": "/billing/credits/balance",
    "usage_current": "/usage/current",
    "usage_summary": "/usage/summary",
    "overview": "/billing",
}


async def measure(ground: Ground, report: Report) -> None:
    """Measure rates and 95th percentiles; the account that is read holds a fifth of the history."""
    sites = [Loads(ground, site) for site in (ground.small, ground.large)]
    pages = [await loads.next_page(LEDGER) for loads in sites]
    for loads in sites:
        await pace(SECONDS, AT_ONCE, loads.use)
        for _ in range(BATCHES):
            await loads.many(FEATURE)
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        debits = [await pace(SECONDS, AT_ONCE, loads.use) for loads in sites]
        ingests = [
            statistics.median([await loads.many(FEATURE) for _ in range(BATCHES)])
            for loads in sites
        ]
        found.setdefault("debit", []).append(debits[1] / debits[0])
        found.setdefault("ingest", []).append(ingests[1] / ingests[0])
        slowest = await _p95(
            {
                (name, place): loads.read(path)
                for place, loads in enumerate(sites)
                for name, path in {**PATHS, "page": pages[place]}.items()
            }
        )
        for name in (*PATHS, "page"):
            found.setdefault(name, []).append(slowest[name, 1] / slowest[name, 0])
        found.setdefault("whole", []).append(slowest["overview", 1] / slowest["balance", 1])
    add = report.add
    add("debit_1m_vs_10k", found["debit"], "ratio", 0.80, 0.90)
    add("ingest_1m_vs_10k", found["ingest"], "ratio", 0.40, 0.60)
    for name in ("balance", "usage_current", "usage_summary", "page"):
        add(f"{name}_p95_1m_vs_10k", found[name], "ratio", 2, 1.3, better="lower")
    add("overview_vs_balance_p95", found["whole"], "ratio", 2, 1.5, better="lower")


async def _p95(reads: dict[Read, Once]) -> dict[Read, float]:
    """Return the 95th percentile in seconds of each kind of read, taken in turn."""
    taken: dict[Read, list[float]] = {read: [] for read in reads}
    for _ in range(READS):
        for read, once in reads.items():
            began = perf_counter()
            await once()
            taken[read].append(perf_counter() - began)
    return {read: percentile(sorted(values), 0.95) for read, values in taken.items()}
