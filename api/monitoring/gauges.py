"""Gauges of the product's backlogs, served by the API so that a dead worker is noticed.

Each process measures every fifteen seconds; the time of its last measurement is a gauge too.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import accumulate
from typing import Final, get_args

from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from api.monitoring.health_checks import HealthChecks, Stack
from billing.core.background import in_background
from billing.core.database_words import database_words
from billing.insight.health import store
from billing.insight.health.schemas import Figures
from billing.platform.processes import rules as liveness
from billing.platform.processes.schemas import ProcessKind

EVERY_SECONDS: Final = 15.0
WAITING: Final = Gauge("billing_waiting", "Rows that wait, by what they are", ["what", "label"])
OLDEST: Final = Gauge(
    "billing_waiting_oldest_seconds", "Age of the oldest of them", ["what", "label"]
)
UNCOUNTED: Final = Gauge(
    "billing_uncounted", "Backlogs and other figures that the last look could not count"
)
CHARGES: Final = Gauge(
    "billing_charges_last_hour",
    "Tries of a card that began within the hour, by outcome and class of decline",
    ["outcome", "decline_class"],
)
LATENESS: Final = Gauge(
    "billing_lateness_seconds_bucket",
    "Steps of the last ten minutes, done or due, that are at most so late; without test accounts",
    ["le"],
)
ALIVE: Final = Gauge("billing_processes_alive", "Processes that show signs of life", ["kind"])
SILENT: Final = Gauge("billing_processes_silent", "Processes that fell silent", ["kind"])
CLOCK: Final = Gauge(
    "billing_clock_ahead_seconds", "The farthest that a process's clock is from the database's"
)
IDLE: Final = Gauge(
    "billing_processes_with_wrong_clock",
    "Workers that take no work, and API processes that change nothing, because of their clock",
    ["kind"],
)
BUSY: Final = Gauge(
    "billing_pool_busy_ratio", "The fullest pool of connections of all processes", ["role"]
)
FREE: Final = Gauge(
    "billing_database_connections_free", "Connections that Postgres still gives to roles like ours"
)
# Unknown before the first look: 0 would say that the server is full.
FREE.set(math.nan)
REFUSED: Final = Gauge(
    "billing_provider_key_refused", "Processes whose key a provider refuses", ["provider"]
)
DIFFERING: Final = Gauge(
    "billing_settings_differ", "Settings in which processes differ that must have the same"
)
LACKING: Final = Gauge(
    "billing_database_lacks_commits", "Processes that have committed what the database lacks"
)
BOOKS: Final = Gauge("billing_books_wrong", "Invariants that the hourly audit found broken")
AUDITED: Final = Gauge("billing_books_audited_timestamp_seconds", "Time of the last hourly audit")
JOBS: Final = Gauge(
    "billing_job_looked_timestamp_seconds",
    "Time up to which a job that repeats has looked, by runs that ended well",
    ["schedule"],  # Prometheus reserves `job` and `instance`, and renames labels that use them
)
STRIPE: Final = Gauge(
    "billing_stripe_answers", "1 while Stripe answers this process and accepts its key"
)
PARKED: Final = Gauge("billing_parked", "1 while nothing may move money")
OFF: Final = Gauge("billing_switched_off", "Processes in which billing is switched off")
TEMPORAL: Final = Gauge("billing_temporal_answers", "1 while Temporal answers this process")
LIMITED: Final = Gauge(
    "billing_temporal_limits", "1 while Temporal refuses this process calls beyond its limit"
)
LOOKED: Final = Gauge("billing_looked_timestamp_seconds", "Time of the look behind these gauges")
_logger = logging.getLogger("api.gauges")


@asynccontextmanager
async def gauging(stack: Stack, health: HealthChecks) -> AsyncIterator[None]:
    """Measure repeatedly while the app runs."""
    async with in_background(_go_on(stack, health)):
        yield


async def _go_on(stack: Stack, health: HealthChecks) -> None:
    while True:
        temporal, stripe = await asyncio.gather(
            health.part(stack, "temporal"), health.part(stack, "stripe")
        )
        TEMPORAL.set(temporal.status == "healthy")
        LIMITED.set(health.temporal_limits)
        STRIPE.set(stripe.status == "healthy")
        try:
            async with stack.database.operator() as connection:
                show(await store.look(connection))
        except SQLAlchemyError as error:
            _logger.warning("the gauges stand still: %s", database_words(error))
        await asyncio.sleep(EVERY_SECONDS)


def show(figures: Figures) -> None:
    """Set every gauge. An empty backlog is set to 0 and its event labels are removed; a backlog
    that could not be counted has no value.
    """
    _show_waiting(figures)
    CHARGES.clear()
    for charges in figures.charges:
        CHARGES.labels(charges.outcome, charges.decline_class).set(charges.count)
    LATENESS.clear()
    bounds = (*store.LATE_SECONDS, "+Inf") if "late" not in figures.uncounted else ()
    for bound, count in zip(bounds, accumulate(figures.late), strict=True):
        LATENESS.labels(bound).set(count)
    _show_processes(figures)
    if figures.books is not None:
        BOOKS.set(len(figures.books.wrong))
        AUDITED.set(figures.books.ran_at.timestamp())
    for job, looked in figures.looked.items():
        JOBS.labels(job).set(looked.timestamp())
    if figures.free is not None:
        FREE.set(figures.free)
    UNCOUNTED.set(len(figures.uncounted))
    PARKED.set(figures.parking is not None)
    LOOKED.set(figures.at.timestamp())


def _show_waiting(figures: Figures) -> None:
    WAITING.clear()
    OLDEST.clear()
    for name in set(store.NAMES) - set(figures.uncounted):
        WAITING.labels(name, "").set(0)
        OLDEST.labels(name, "").set(0)
    for one in figures.backlogs:
        WAITING.labels(one.name, one.label).set(one.count)
        OLDEST.labels(one.name, one.label).set((one.oldest or timedelta()).total_seconds())


def _show_processes(figures: Figures) -> None:
    found, now = figures.processes, figures.at
    for kind in get_args(ProcessKind):
        ALIVE.labels(kind).set(len(liveness.alive(found, kind, now)))
        SILENT.labels(kind).set(len(liveness.silent(found, kind, now)))
        IDLE.labels(kind).set(len(liveness.idle(found, kind, now)))
    living = liveness.living(found, now)
    CLOCK.set(max((abs(one.clock_ahead.total_seconds()) for one in living), default=0))
    DIFFERING.set(len(liveness.differing(found, now)))
    OFF.set(len(liveness.switched_off(found, now)))
    LACKING.set(len(liveness.bereft(found, now)))
    REFUSED.clear()
    REFUSED.labels("stripe").set(0)
    for _, provider, _ in liveness.refused(found, now):
        REFUSED.labels(provider).inc()
    for role in ("app", "operator"):
        pools = [one.figures.pools[role] for one in living if role in one.figures.pools]
        BUSY.labels(role).set(max((pool.busy / pool.size for pool in pools), default=0))
