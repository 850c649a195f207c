"""Cost of a purchase beside an empty workflow: rate to credits, and time to the secret."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import cpu
from benchmarks.bench import Bench
from benchmarks.harness import Report, latencies, percentile, rate, spread
from benchmarks.wire import Wire

# More than in other measures, because Temporal varies most between rounds.
ROUNDS: Final = 10
SECRET_ROUNDS: Final = 5
COUNT: Final = 200
AT_ONCE: Final = 32
LATENCY_COUNT: Final = 160
LATENCY_AT_ONCE: Final = 8
CROWD_COUNT: Final = 320
ACCOUNTS: Final = 32
PURCHASES: Final = "/api/v1/billing/purchases"
ORDER: Final = b'{"pack": "small"}'
CARD: Final = b'{"payment_method": "pm_card_visa"}'
Once = Callable[[], Awaitable[object]]
Found = list[tuple[str, float]]


@dataclass
class Buyers:
    """Accounts that buy in turn, each with an existing Stripe customer."""

    bench: Bench
    headers: list[dict[str, str]]
    api: Wire
    stripe: Wire
    turn: int = 0
    unpaid: list[dict[str, Any]] = field(default_factory=list)

    async def buy(self) -> dict[str, Any]:
        """Start a purchase; return once the client secret is available."""
        self.turn += 1
        headers = self.headers[self.turn % len(self.headers)]
        status, answer = await self.api.ask("POST", PURCHASES, ORDER, headers)
        assert status in (201, 202), answer
        started: dict[str, Any] = json.loads(answer)
        while started["next_action"]["type"] == "wait":  # as a client does after a 202
            path = f"{PURCHASES}/{started['purchase_id']}"
            status, answer = await self.api.ask("GET", path, b"", headers)
            started = json.loads(answer)
        return started

    async def buy_unpaid(self) -> None:
        """Start a purchase, to be paid by `pay_all`: one that waits asks Stripe in between."""
        self.unpaid.append(await self.buy())

    async def pay_all(self) -> None:
        """Pay the purchases that were only started."""
        await spread(len(self.unpaid), AT_ONCE, lambda: self.pay(self.unpaid.pop()))

    async def buy_to_credits(self) -> None:
        """Buy, from the request to the granted credits."""
        await self.pay(await self.buy())

    async def pay(self, started: dict[str, Any]) -> None:
        """Pay, and wait for the credits, with which the workflow ends."""
        intent = started["next_action"]["client_secret"].partition("_secret_")[0]
        path = f"/_sandbox/payment_intents/{intent}/confirm_as_client"
        status, answer = await self.stripe.ask("POST", path, CARD, {})
        assert status == 200, answer
        handle = self.bench.temporal.get_workflow_handle(f"purchase/{started['purchase_id']}")
        await handle.result()


async def buyers(bench: Bench) -> Buyers:
    """Create accounts with customers at Stripe."""
    headers = [bench.headers(await bench.account()) for _ in range(ACCOUNTS)]
    ports = bench.stack.ports
    found = Buyers(bench, headers, Wire("127.0.0.1", ports.api), Wire("127.0.0.1", ports.sandbox))
    for _ in range(ACCOUNTS):
        await found.buy_to_credits()
    return found


async def measure(bench: Bench, report: Report) -> None:
    """Measure both ratios, turn by turn with the yardstick."""
    people = await buyers(bench)

    await rate(COUNT // 2, AT_ONCE, bench.noop)
    found: dict[str, list[float]] = {}
    for measured in (_rates,) * ROUNDS + (_secrets,) * SECRET_ROUNDS:
        for name, value in await measured(bench, people, report):
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
    early = await latencies(LATENCY_COUNT, LATENCY_AT_ONCE, people.buy_unpaid)
    crowd = await latencies(CROWD_COUNT, AT_ONCE, people.buy_unpaid)
    await people.pay_all()
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
