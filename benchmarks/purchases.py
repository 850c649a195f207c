"""Cost of a purchase beside an empty workflow: rate to credits, and time to the secret."""

import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bench import Bench
from benchmarks.harness import Report, latencies, percentile, rate
from benchmarks.noop import NoopWorkflow
from benchmarks.wire import Wire
from billing.matters.kinds import INTERACTIVE

# More than other measures have: Temporal is what varies most from one round to the next.
ROUNDS: Final = 5
COUNT: Final = 200
AT_ONCE: Final = 32
LATENCY_COUNT: Final = 160
LATENCY_AT_ONCE: Final = 8
ACCOUNTS: Final = 32
ORDER: Final = b'{"pack": "small"}'
CARD: Final = b'{"payment_method": "pm_card_visa"}'


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

    async def noop() -> None:
        await bench.temporal.execute_workflow(
            NoopWorkflow.run, 1, id=f"bench/{secrets.token_hex(8)}", task_queue=INTERACTIVE
        )

    await rate(COUNT // 2, AT_ONCE, noop)
    rates, halves, tails = [], [], []
    for _ in range(ROUNDS):
        floor = await rate(COUNT, AT_ONCE, noop)
        ours = await rate(COUNT, AT_ONCE, people.buy_to_credits)
        report.console.print(f"  noop {floor:.1f}/s, purchases {ours:.1f}/s")
        rates.append(ours / floor)
        quiet = await latencies(LATENCY_COUNT, LATENCY_AT_ONCE, noop)
        early = await latencies(LATENCY_COUNT, LATENCY_AT_ONCE, people.buy)
        middle = percentile(quiet, 0.5)
        report.console.print(
            f"  noop p50 {middle * 1000:.0f} ms, client secret p50"
            f" {percentile(early, 0.5) * 1000:.0f} ms p99 {percentile(early, 0.99) * 1000:.0f} ms"
        )
        halves.append(percentile(early, 0.5) / middle)
        tails.append(percentile(early, 0.99) / middle)
    report.add("purchase_vs_noop", rates, "ratio", 0.35, 0.50)
    report.add("early_return_vs_noop_p50", halves, "ratio", 1.5, 1.1, "lower")
    report.add("early_return_vs_noop_p99", tails, "ratio", 4, 3, "lower")
