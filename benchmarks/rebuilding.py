"""A rebuild of every workflow: its speed beside plain starts, and its effect on customers."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from temporalio.client import Client

from benchmarks.bench import Bench
from benchmarks.harness import ROUNDS, Report, latencies, percentile, rate, spread
from benchmarks.noop import NoopWorkflow
from billing.core.settings import Settings
from cli import rebuild as rebuilding
from cli.repair_commands import RATE
from workflows import visibility

OPEN: Final = 400
AT_ONCE: Final = 16
STARTS: Final = 200
LIVE: Final = 60
LIVE_AT_ONCE: Final = 2
NOBODYS_QUEUE: Final = "bench-nobody"
PAUSE_SECONDS: Final = 0.5


async def measure(bench: Bench, report: Report) -> None:
    """Measure workflows rebuilt per second ÷ plain starts, at full speed; then, at the delivered
    rate, the latency of new subscriptions during a rebuild ÷ without one.
    """
    accounts: list[str] = []

    async def subscribe() -> None:
        accounts.append(await bench.subscribed())

    await spread(OPEN, AT_ONCE, subscribe)
    names = await bench.subscription_workflows(accounts)
    speeds = [await _speed(bench, names, report) for _ in range(ROUNDS)]
    report.add("rebuild_vs_starts", speeds, "ratio", 0.4, 0.7)
    felt = [await _felt(bench, names, report) for _ in range(ROUNDS)]
    report.add("live_p99_in_rebuild", felt, "ratio", 2, 1.5, "lower")


async def _speed(bench: Bench, names: Sequence[str], report: Report) -> float:
    async def start() -> None:
        await bench.temporal.start_workflow(
            NoopWorkflow.run, 1, id=f"bench/{secrets.token_hex(8)}", task_queue=NOBODYS_QUEUE
        )

    plain = await rate(STARTS, rebuilding.AT_ONCE, start)
    await _lose(bench.temporal, names)
    done = await rebuilding.rebuild(_settings(bench), lambda *_: None, 0)
    assert (done.started, done.late) == (len(names), ()), done.words
    rebuilt = done.started / done.seconds
    report.console.print(f"  rebuilt {rebuilt:.0f}/s, plain starts {plain:.0f}/s")
    return rebuilt / plain


async def _felt(bench: Bench, names: Sequence[str], report: Report) -> float:
    """Return the p99 latency of new subscriptions during a rebuild ÷ that without one."""
    quiet = percentile(await _live(bench), 0.99)
    await _lose(bench.temporal, names)
    job = asyncio.create_task(rebuilding.rebuild(_settings(bench), lambda *_: None, RATE))
    meanwhile = percentile(await _live(bench), 0.99)
    overlapped = not job.done()
    done = await job
    report.console.print(
        f"  new subscriptions p99 {quiet * 1000:.0f} ms, during a rebuild {meanwhile * 1000:.0f} ms"
        f"{'' if overlapped else ', which ended before'}; {done.words}"
    )
    return meanwhile / quiet


async def _live(bench: Bench) -> list[float]:
    """Return the seconds that each new subscription took."""
    fresh = iter([await bench.account() for _ in range(LIVE)])
    return await latencies(LIVE, LIVE_AT_ONCE, lambda: bench.subscribe(next(fresh)))


async def _lose(client: Client, names: Sequence[str]) -> None:
    """Terminate the workflows, as if Temporal had lost them."""
    left = iter(names)
    await spread(
        len(names), AT_ONCE, lambda: client.get_workflow_handle(next(left)).terminate("bench")
    )
    while await visibility.running_among(client, names):  # noqa: ASYNC110
        await asyncio.sleep(PAUSE_SECONDS)


def _settings(bench: Bench) -> Settings:
    names = ("DATABASE_URL", "DATABASE_OPERATOR_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE")
    return Settings.model_validate({name.lower(): bench.stack.env[name] for name in names})
