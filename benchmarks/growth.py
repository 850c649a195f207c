"""The same calls with a million rows of history and with ten thousand, turn by turn."""

import statistics
from typing import Final

from benchmarks.ground import Ground
from benchmarks.harness import ROUNDS, Report, pace, slowest
from benchmarks.loads import FEATURE, Loads
from benchmarks.recording import AT_ONCE

SECONDS: Final = 2.0
BATCHES: Final = 7
READS: Final = 200
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
        reads = {
            (name, place): loads.read(path)
            for place, loads in enumerate(sites)
            for name, path in {**PATHS, "page": pages[place]}.items()
        }
        taken = dict(zip(reads, await slowest([*reads.values()], READS), strict=True))
        for name in (*PATHS, "page"):
            found.setdefault(name, []).append(taken[name, 1] / taken[name, 0])
        found.setdefault("whole", []).append(taken["overview", 1] / taken["balance", 1])
    add = report.add
    add("debit_1m_vs_10k", found["debit"], "ratio", 0.80, 0.90)
    add("ingest_1m_vs_10k", found["ingest"], "ratio", 0.40, 0.60)
    for name in ("balance", "usage_current", "usage_summary", "page"):
        add(f"{name}_p95_1m_vs_10k", found[name], "ratio", 2, 1.3, better="lower")
    add("overview_vs_balance_p95", found["whole"], "ratio", 2, 1.5, better="lower")
