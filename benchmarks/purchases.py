"""Cost of a purchase beside an empty workflow: rate to credits, and time to the secret."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import cpu
from benchmarks.bench import Bench
from benchmarks.harness import Report, latencies, percentile, rate
from benchmarks.wire import Wire

# More than other measures have: Temporal is what varies most from one round to the next.
ROUNDS: Final = 10
COUNT: Final = 200
AT_ONCE: Final = 32
LATENCY_COUNT: Final = 160
LATENCY_AT_ONCE: Final = 8
CROWD_COUNT: Final = 320
ACCOUNTS: Final = 32
ORDER: Final = b'{"pack": "small"}'
CARD: Final = b'{"payment_method": "pm_card_visa"}'
Once = Callable[[], Awaitable[object]]
Found = list[tuple[str, float]]


@dataclass
class Buyers:
    """Accounts that buy in turn, each with its Stripe customer made before."""

    bench: Bench
    headers: list[dict[str, str]]
    api: Wire
    stripe: Wire
    turn: int = 0

    async def buy(self) -> dict[str, Any]:
        """Start a purchase: answers once the client secret is there."""
        self.turn += 1
        headers = self.headers[self.turn % len(self.headers)]
        status, answer = await self.api.ask("POST", "/api/v1/billing/purchases", ORDER, headers)
        assert status == 201, answer
        started: dict[str, Any] = json.loads(answer)
        return started

    async def buy_to_credits(self) -> None:
        """From the request to the granted credits: the workflow ends when they are there."""
        started = await self.buy()
        intent = started["next_action"]["client_secret"].partition("_secret_")[0]
        path = f"/_sandbox/payment_intents/{intent}/confirm_as_client"
        status, answer = await self.stripe.ask("POST", path, CARD, {})
        assert status == 200, answer
        handle = self.bench.temporal.get_workflow_handle(f"purchase/{started['purchase_id']}")
        await handle.result()


async def buyers(bench: Bench) -> Buyers:
    """Accounts with customers at Stripe."""
    headers = [bench.headers(await bench.account()) for _ in range(ACCOUNTS)]
    ports = bench.stack.ports
    found = Buyers(bench, headers, Wire("127.0.0.1", ports.api), Wire("127.0.0.1", ports.sandbox))
    for _ in range(ACCOUNTS):
        await found.buy_to_credits()
    return found


async def measure(bench: Bench, report: Report) -> None:
    """Both ratios, turn by turn with the yardstick."""
    people = await buyers(bench)

    await rate(COUNT // 2, AT_ONCE, bench.noop)
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, value in (
            *(await _rates(bench, people, report)),
            *(await _secrets(bench, people, report)),
        ):
            found.setdefault(name, []).append(value)
    report.add("purchase_vs_noop", found["rate"], "ratio", 0.42, 0.50)
    report.add("purchase_cpu_vs_noop", found["cpu"], "ratio", 2.5, 2.0, "lower")
    report.add("early_return_vs_noop_p50", found["p50"], "ratio", 1.2, 1.1, "lower")
    report.add("early_return_vs_noop_p99", found["p99"], "ratio", 4, 3, "lower")
    report.add("secret_p95_vs_p50", found["crowd"], "ratio", 2, 1.5, "lower")


async def _rates(bench: Bench, people: Buyers, report: Report) -> Found:
    """Purchases to credits beside empty workflows: how many a second, and the CPU of each."""
    rates, seconds = [], []
    for once in (bench.noop, people.buy_to_credits):
        before = cpu.used(bench)
        rates.append(await rate(COUNT, AT_ONCE, once))
        seconds.append(cpu.since(bench, before))
    report.console.print(
        f"  noop {rates[0]:.1f}/s, {seconds[0] / COUNT * 1000:.1f} ms of CPU;"
        f" purchases {rates[1]:.1f}/s, {seconds[1] / COUNT * 1000:.1f} ms"
    )
    return [("rate", rates[1] / rates[0]), ("cpu", seconds[1] / seconds[0])]


async def _secrets(bench: Bench, people: Buyers, report: Report) -> Found:
    """Time to the client secret: a few at once beside empty workflows, and in a crowd."""
    quiet = await latencies(LATENCY_COUNT, LATENCY_AT_ONCE, bench.noop)
    early = await latencies(LATENCY_COUNT, LATENCY_AT_ONCE, people.buy)
    crowd = await latencies(CROWD_COUNT, AT_ONCE, people.buy)
    middle = percentile(quiet, 0.5)
    shown = [percentile(early, share) for share in (0.5, 0.99)]
    among = [percentile(crowd, share) for share in (0.5, 0.95)]
    report.console.print(
        f"  noop p50 {middle * 1000:.0f} ms, client secret p50 {shown[0] * 1000:.0f} ms"
        f" p99 {shown[1] * 1000:.0f} ms; {AT_ONCE} at once p50 {among[0] * 1000:.0f} ms"
        f" p95 {among[1] * 1000:.0f} ms"
    )
    return [
        ("p50", shown[0] / middle),
        ("p99", shown[1] / middle),
        ("crowd", among[1] / among[0]),
    ]
