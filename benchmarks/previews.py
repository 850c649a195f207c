"""The preview of a change beside the cheapest read: both by one caller, turn by turn."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.harness import ROUNDS, Report, percentile
from benchmarks.wire import Wire

CALLS: Final = 200
Request = tuple[str, str, bytes]
BALANCE: Final = ("GET", "/api/v1/billing/credits/balance", b"")
PREVIEW: Final = ("POST", "/api/v1/billing/subscription/preview", b'{"plan": "enterprise"}')


async def measure(bench: Bench, report: Report) -> None:
    """Measure the 95th percentile of a subscriber's preview ÷ that of reading the balance."""
    wire = Wire("127.0.0.1", bench.stack.ports.api)
    headers = bench.headers(await bench.subscribed())
    found = []
    for _ in range(ROUNDS + 1):
        balance, preview = await _in_turn(wire, headers, (BALANCE, PREVIEW))
        found.append(preview / balance)
    await wire.close()
    report.add("preview_vs_balance_p95", found[1:], "ratio", 4, 2.5, "lower")


async def _in_turn(
    wire: Wire, headers: dict[str, str], requests: Sequence[Request]
) -> tuple[float, ...]:
    """Return the 95th percentile in seconds of each request."""
    taken: list[list[float]] = [[] for _ in requests]
    for _ in range(CALLS):
        for (method, path, body), seconds in zip(requests, taken, strict=True):
            began = perf_counter()
            status, answer = await wire.ask(method, path, body, headers)
            seconds.append(perf_counter() - began)
            assert status == 200, answer
    return tuple(percentile(sorted(one), 0.95) for one in taken)
