"""The worker: runs every workflow and activity on two queues until SIGTERM or SIGINT.

SIGTERM lets running activities finish. The worker serves metrics in Prometheus format.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import chain, repeat
from typing import Any, Final, TypeVar

import uvloop
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import (
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)

from activities.billing_interceptor import BillingInterceptor
from activities.clock import WALKS
from activities.dependencies import Dependencies
from activities.registry import build_activities
from billing.core import garbage, logs, open_files
from billing.core.database import Database, open_database
from billing.core.database_roles import refuse_unsafe_roles
from billing.core.database_room import refuse_small_server
from billing.core.process_end import run_and_end
from billing.core.profile import TEST_PROFILE
from billing.core.setting_names import warn_of_names
from billing.core.settings import VERSION, Settings, load_settings
from billing.core.tracing import Tracing, open_tracing
from billing.matters.kinds import BACKGROUND, INTERACTIVE, QUEUES
from billing.platform.parking.service import Barrier
from billing.platform.processes.agreement import agreed
from billing.platform.processes.service import Pulse
from gateways.paypal import PayPalGateway
from gateways.provider import CALL_SECONDS
from gateways.stripe import StripeGateway
from gateways.stripe_tax import StripeTax
from gateways.vat_register import Vies
from workflows import visibility
from workflows.client import OUT_OF_BREATH, connect, never_connected
from workflows.policies import POLICIES, VERSIONED
from workflows.registry import WORKFLOWS
from workflows.schedules import PASSES, ensure_schedules

# Longer than a step's timeout, so that running steps end before the worker does.
GRACE: Final = timedelta(seconds=25)
# Below the test profile's step timeout: two calls must fit in.
TEST_CALL_SECONDS: Final = 1.5
# Applied twice: to local activities, and to activities (retries, older runs). A step takes a
# connection per transaction, never during a call to Stripe. If both are busy, the pool queues them.
MAX_STEPS: Final = {INTERACTIVE: 12, BACKGROUND: 8}
COMPARISONS: Final = 1
"""Comparisons with the provider that take no step's place: each goes on for hours."""
TASKS_PER_STEP: Final = 3
"""So many that one is at hand whenever a step ends."""
MAX_CACHED_WORKFLOWS: Final = 500
START_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until Temporal is asked again at a start."""
T = TypeVar("T")
_logger = logging.getLogger("worker")


async def _connect(settings: Settings, tracing: Tracing | None) -> Client:
    """Connect to Temporal and serve metrics on their own port. Errors: SystemExit."""
    runtime = _serve_metrics(settings)
    try:
        return await connect(settings, tracing, runtime=runtime, lazy=False)
    except RuntimeError as error:
        if not never_connected(error):
            raise
        raise SystemExit(
            f"Temporal does not answer at {settings.temporal_address} ({error}):"
            " is it running, and with these TLS settings?"
        ) from error


def _serve_metrics(settings: Settings) -> Runtime:
    """Return the runtime that serves the metrics. Errors: SystemExit."""
    address = f"{settings.service_host}:{settings.worker_metrics_port}"
    metrics = PrometheusConfig(bind_address=address, durations_as_seconds=True)
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=metrics))
    except ValueError as error:
        raise SystemExit(
            f"the worker's metrics cannot be served on {address}, set BILLING_WORKER_METRICS_PORT"
            f" to a free port: {error}"
        ) from error


def steps_at_once(queue: str, pool_size: int) -> tuple[int, int]:
    """Return how many local activities and how many activities a queue's worker runs at once.

    The steps of both queues fit into the pool. What lasts long (full passes, walks of test clocks,
    a comparison) has slots of its own, or it would block the sweep, the poll and retries.
    """
    whole = sum(MAX_STEPS.values())
    steps = max(1, MAX_STEPS[queue] * min(pool_size, whole) // whole)
    long = len(PASSES) + WALKS + COMPARISONS if queue == BACKGROUND else 0
    return steps, steps + long


def tasks_at_once(queue: str, steps: int) -> int | None:
    """Return how many workflow tasks a queue's worker holds at once; None: the SDK's default.

    A task keeps its slot while its step waits for one, and after four seconds the SDK keeps it
    alive by three events. Timers due at once wait at the server instead, which costs nothing.
    """
    return TASKS_PER_STEP * steps if queue == BACKGROUND else None


def _sticky_timeout(queue: str) -> timedelta:
    return POLICIES.patient_sticky_timeout if queue == BACKGROUND else POLICIES.sticky_timeout


def build_worker(
    client: Client, queue: str, activities: list[Any], settings: Settings, barrier: Barrier
) -> Worker:
    """Build one queue's worker; each has its own slots, so people never wait behind timers."""
    steps, at_once = steps_at_once(queue, settings.database_pool_size)
    return Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=activities,
        interceptors=[BillingInterceptor(barrier)],
        max_concurrent_activities=at_once,
        max_concurrent_local_activities=steps,
        max_concurrent_workflow_tasks=tasks_at_once(queue, steps),
        # A fixed few pollers would let new purchases starve behind running ones.
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        # Else a server may give it to the worker that asks, whose clock may be the wrong one.
        disable_eager_activity_execution=True,
        max_cached_workflows=MAX_CACHED_WORKFLOWS,
        graceful_shutdown_timeout=GRACE,
        sticky_queue_schedule_to_start_timeout=_sticky_timeout(queue),
        **_version(settings),
        workflow_runner=workflow_runner(),
    )


def workflow_runner() -> WorkflowRunner:
    """Return what runs workflow code, here and in replays. A sandbox would catch some calls whose
    results differ in a replay, for a sixth of the worker's CPU: tests/test_determinism.py looks for
    them instead.
    """
    return UnsandboxedWorkflowRunner()


def _version(settings: Settings) -> dict[str, Any]:
    """Return the versioning options. A worker with a build id waits until it is made current.

    One without belongs to no deployment, because each workflow would store the deployment's name.
    """
    if settings.build_id is None:
        return {"build_id": VERSION}
    version = WorkerDeploymentVersion(deployment_name="billing", build_id=settings.build_id)
    config = WorkerDeploymentConfig(version=version, use_worker_versioning=True)
    return {"deployment_config": config}


def open_stripe(settings: Settings) -> StripeGateway:
    key = settings.stripe_secret_key.get_secret_value()
    return StripeGateway(key, settings.stripe_api_base, timeout_seconds=_call_seconds(settings))


def open_paypal(settings: Settings) -> PayPalGateway | None:
    """Return the PayPal gateway, or None if PayPal is not configured."""
    if not settings.takes_paypal:
        return None
    secret = settings.paypal_client_secret.get_secret_value()
    return PayPalGateway(
        settings.paypal_client_id, secret, settings.paypal_url,
        timeout_seconds=_call_seconds(settings),
    )  # fmt: skip


def _call_seconds(settings: Settings) -> float:
    return TEST_CALL_SECONDS if settings.profile == "test" else CALL_SECONDS


def refusing(provider: StripeGateway, orders: PayPalGateway | None) -> list[str]:
    """Return the providers that refuse our key."""
    asked = {"stripe": provider, "paypal": orders}
    return [name for name, one in asked.items() if one is not None and one.refuses_key]


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve both queues until `stop` is set."""
    _need_environment(settings)
    database = open_database(settings)
    await refuse_unsafe_roles(settings, database)
    await refuse_small_server(settings, database)
    provider, orders = open_stripe(settings), open_paypal(settings)
    tracing = open_tracing(settings, "worker")
    client = await _connect(settings, tracing)
    activities = build_activities(_dependencies(settings, database, provider, orders), client)
    barrier = Barrier(database)
    pulse = Pulse(
        database,
        "worker",
        refusing=lambda: refusing(provider, orders),
        unknown_object=lambda: provider.unknown_object,
        agreed=agreed(settings),
        clock_tolerance=timedelta(seconds=settings.clock_tolerance_seconds),
    )
    try:
        if not await _prepare(client, stop):
            return
        garbage.freeze_startup()
        async with pulse.beating():
            while await may_serve(pulse, stop):  # again, once a wrong clock is right
                await serve(
                    [build_worker(client, one, activities, settings, barrier) for one in QUEUES],
                    stop,
                    pulse,
                )
    finally:
        await provider.close()
        if orders is not None:
            await orders.close()
        await database.close()
        if tracing is not None:
            await tracing.close()


def _dependencies(
    settings: Settings, database: Database, provider: StripeGateway, orders: PayPalGateway | None
) -> Dependencies:
    register = Vies(settings.vies_url) if settings.vies_url else None
    # Tests have one worker for APIs with either provider of taxes.
    asks_stripe = settings.tax_provider == "stripe" or settings.profile == "test"
    taxes = StripeTax(provider.client) if asks_stripe else None
    return Dependencies(database, provider, settings, register, orders, taxes)


async def _prepare(client: Client, stop: asyncio.Event) -> bool:
    """Check the namespace and make the schedules; False if the worker is to stop before."""

    async def prepare() -> bool:
        await _need_attributes(client)
        await ensure_schedules(client)
        return True

    return bool(await patiently(prepare, stop))


async def patiently(ask: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    """Ask Temporal until it answers, however slow it is or whatever it limits; None if the worker
    is to stop before. Errors: RPCError for any other refusal.
    """
    pauses = chain(START_PAUSES, repeat(START_PAUSES[-1]))
    while not stop.is_set():
        try:
            return await ask()
        except RPCError as error:
            if error.status not in OUT_OF_BREATH:
                raise
            pause = next(pauses)
            words = "Temporal is slow or limits our calls (%s): it is asked again in %.0f s"
            _logger.warning(words, error.message or error.status.name, pause)
            await first_of(stop.wait(), asyncio.sleep(pause))
    return None


async def may_serve(pulse: Pulse, stop: asyncio.Event) -> bool:
    """Wait until a heartbeat is written and the clock is right; False if the worker is to stop.

    A worker that cannot write would take steps from others, fail them, and be seen by nobody; one
    whose clock is wrong would date what it does by it.
    """
    await first_of(pulse.fit(), stop.wait())
    return not stop.is_set()


async def serve(workers: Sequence[Worker], stop: asyncio.Event, pulse: Pulse) -> None:
    """Run the workers until `stop` is set or the clock is wrong, then shut both down within one
    grace period.
    """
    async with AsyncExitStack() as stack:
        for one in workers:
            await stack.enter_async_context(one)
        await first_of(stop.wait(), pulse.astray())
        # The exit stack would shut them down one after the other.
        await asyncio.gather(*(one.shutdown() for one in workers))


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of these ends, and cancel the others."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in tasks:
            one.cancel()


def _need_environment(settings: Settings) -> None:
    """Refuse to start if .env alone has a setting that is read before there are settings."""
    for name, is_read in (
        ("BILLING_BUILD_ID", settings.build_id is None or VERSIONED),
        ("BILLING_PROFILE", settings.profile != "test" or TEST_PROFILE),
    ):
        if not is_read:
            raise SystemExit(f"{name} is in .env alone: a worker needs it in its environment, too")


async def _need_attributes(client: Client) -> None:
    """Refuse to start if there is no such namespace, or if it lacks search attributes, which every
    workflow sets. Errors: RPCError while Temporal is slow or limits our calls.
    """
    try:
        lacking = await visibility.missing_attributes(client)
    except RPCError as error:
        if error.status in OUT_OF_BREATH:
            raise
        raise SystemExit(
            f"Temporal does not serve the namespace {client.namespace}, see TEMPORAL_NAMESPACE:"
            f" {error.message}"
        ) from error
    if lacking:
        raise SystemExit(
            f"the Temporal namespace {client.namespace} lacks search attributes:"
            f" {', '.join(lacking)} (docs/operate.md#temporal)"
        )


async def main() -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    settings = load_settings()
    logs.configure(settings, process="worker")
    warn_of_names(settings)
    open_files.allow_many()
    await run(settings, stop)


if __name__ == "__main__":
    run_and_end(lambda: uvloop.run(main()))
