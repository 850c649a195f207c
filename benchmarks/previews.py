"""The preview of a change beside the cheapest read: both by one caller, turn by turn."""

from functools import partial
from typing import Final

from benchmarks.bench import Bench
from benchmarks.harness import ROUNDS, Report, slowest
from benchmarks.wire import Wire

CALLS: Final = 200
Request = tuple[str, str, bytes]
BALANCE: Final = ("GET", "/api/v1/billing/credits/balance", b"")
PREVIEW: Final = ("POST", "/api/v1/billing/subscription/preview", b'{"plan": "enterprise"}')


async def measure(bench: Bench, report: Report) -> None:
    """Measure the 95th percentile of a subscriber's preview ÷ that of reading the balance."""
    wire = Wire("127.0.0.1", bench.stack.ports.api)
    headers = bench.headers(await bench.subscribed())

    async def ask(request: Request) -> None:
        status, answer = await wire.ask(*request, headers)
        assert status == 200, answer

    calls = [partial(ask, one) for one in (BALANCE, PREVIEW)]
    found = []
    for _ in range(ROUNDS + 1):
        balance, preview = await slowest(calls, CALLS)
        found.append(preview / balance)
    await wire.close()
    report.add("preview_vs_balance_p95", found[1:], "ratio", 4, 2.5, "lower")
