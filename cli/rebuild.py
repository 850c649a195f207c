"""Restarts every missing workflow from Postgres, after a loss of Temporal; safe at any time.

Running workflows are left alone, so a repeat changes nothing. Missing ones are started a few at a
time, the next when these have begun, so that customers are served meanwhile.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final, TypeVar

from temporalio.client import Client
from temporalio.service import RPCError

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.matters import sweeps
from billing.matters.schemas import Matter, Planned
from billing.money.subscriptions import sleeping
from billing.platform.accounts import store as accounts
from billing.platform.parking import store as parkings
from cli.errors import StackError
from workflows import pollers, start, visibility
from workflows.client import OUT_OF_BREATH, connect
from workflows.schedules import ensure_schedules

PAGE: Final = 200
BATCH: Final = 100
"""Workflows that are being started at one time."""
AT_ONCE: Final = 4
"""Of these, started at one time: Temporal is loaded, not flooded."""
SLACK: Final = 4
"""Tasks in the queues that are assumed to be customers' live work."""
SHARE: Final = 0.25
"""Share of the time used for starts; the rest is left to customers."""
FAR: Final = timedelta(minutes=15)
"""A workflow whose step is later sleeps until then, without reading its rows first."""
PAUSES: Final = (1, 2, 4, 8)
"""Seconds to wait before Temporal is asked again."""
PATIENCE_SECONDS: Final = 60.0
"""For a batch to begin, and for a worker that asks for work."""
QUIET_SECONDS: Final = 2.0
"""If the queues are as short for so long, what has not begun waits for something of its own."""
LOOK_SECONDS: Final = 0.02
TELL_SECONDS: Final = 1.0
"""Until the progress is told again, also where nothing has changed."""

Progress = Callable[[int, int, str], None]
"""Called each second with (done, total, what it does or waits for)."""
T = TypeVar("T")


@dataclass(frozen=True)
class Rebuilt:
    """Counts of a rebuild: found and started."""

    found: int
    """Workflows that were already running."""
    started: int
    """Workflows that were missing."""
    walks: int
    """Advancing clocks that were resumed."""
    schedules: tuple[str, ...]
    """Schedules that were missing."""
    seconds: float
    late: tuple[str, ...]
    """Started workflows that have not read their rows yet."""
    is_parked: bool
    """True if billing is parked: what is due begins when that ends."""

    @property
    def open_matters(self) -> int:
        """All of them, started or found."""
        return self.found + self.started

    @property
    def words(self) -> str:
        """A line that sums up the rebuild."""
        made = f"{len(self.schedules)} schedules made" if self.schedules else "schedules in place"
        rate = f" ({self.started / self.seconds:.0f} a second)" if self.started else ""
        began = (
            "what is due waits for billing unpark" if self.is_parked else "all have begun or sleep"
        )
        late = f"not begun yet: {', '.join(self.late[:3])}" if self.late else began
        return (
            f"{self.open_matters} open matters: {self.started} missing and started, "
            f"{self.found} found running; {self.walks} clocks walk on; {made}; "
            f"{late} after {self.seconds:.0f} s{rate}"
        )


@dataclass
class _Rebuilding:
    """One rebuild under way."""

    database: Database
    client: Client
    rate: float
    is_parked: bool = False
    total: int = 0
    doing: str = "waits for Temporal"
    found: int = 0
    started: int = 0
    looking: list[str] = field(default_factory=list)
    """Started workflows that should read their rows now."""
    late: list[str] = field(default_factory=list)

    async def page(self, page: Sequence[Matter]) -> None:
        """Give each matter of a page its workflow, batch by batch."""
        names = [matter.workflow_id for matter in page]
        self.doing = "reads from Temporal what runs"
        running = await patiently(lambda: visibility.running_among(self.client, names))
        missing = [matter for matter in page if matter.workflow_id not in running]
        self.found += len(page) - len(missing)
        # Spread over the second, because customers would notice a burst.
        size = min(BATCH, math.ceil(self.rate / 10)) if self.rate else BATCH
        for first in range(0, len(missing), size):
            batch, begun = missing[first : first + size], monotonic()
            self.doing = "starts"
            await self._begin(batch)
            await self.drain(SLACK if self.rate else BATCH)
            if self.rate:
                took = monotonic() - begun
                self.doing = "leaves time to live work"
                await asyncio.sleep(max(len(batch) / self.rate, took / SHARE) - took)

    async def _begin(self, batch: Sequence[Matter]) -> None:
        names = [matter.workflow_id for matter in batch]
        async with self.database.operator() as connection:
            planned = await sleeping.planned(connection, names, real_now() + FAR)
            looking = [name for name in names if name not in planned]
            await sweeps.expect_look(connection, looking, real_now())
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(matter: Matter) -> bool:
            async with slots:
                return await _start(self.client, matter, planned.get(matter.workflow_id))

        started = sum(await asyncio.gather(*map(one, batch)))
        self.started, self.found = self.started + started, self.found + len(batch) - started
        if not self.is_parked:
            self.looking += looking

    async def drain(self, slack: int) -> None:
        """Wait until at most `slack` workflows have not begun, and the queues are as short.

        Live work goes first: while it waits, nothing more is started. A workflow whose step fails,
        because Stripe is away, delays no other.
        """
        deadline = monotonic() + PATIENCE_SECONDS
        quiet_until = monotonic() + QUIET_SECONDS
        while True:
            waiting = await patiently(lambda: pollers.backlog(self.client))
            async with self.database.operator() as connection:
                self.looking = await sweeps.unlooked(connection, self.looking)
            is_quiet = waiting <= max(slack, SLACK)
            self.doing = (
                f"drains: {len(self.looking)} not begun yet" if is_quiet
                else f"waits for the backlog of live work ({waiting} tasks)"
            )  # fmt: skip
            if is_quiet and len(self.looking) <= slack:
                return
            if not is_quiet:
                quiet_until = monotonic() + QUIET_SECONDS
            if monotonic() > min(deadline, quiet_until):
                self.late, self.looking = [*self.late, *self.looking], []
                return
            await asyncio.sleep(LOOK_SECONDS)


async def rebuild(settings: Settings, progress: Progress, rate: float) -> Rebuilt:
    """Start every open matter's missing workflow, at most `rate` per second (0: no limit).

    Errors: RPCError if Temporal is unavailable, StackError if no worker polls.
    """
    begun = monotonic()
    async with open_database(settings) as database:
        client = await connect(settings)
        job = _Rebuilding(database, client, rate)
        async with telling(job, progress):
            schedules = await _prepare(job)
            await _go_through(job)
            async with database.operator() as connection:
                walking = await accounts.advancing(connection)
                late = await sweeps.unlooked(connection, job.late)
            for account_id in walking:
                await start.walk(client, account_id)
        return Rebuilt(
            found=job.found,
            started=job.started,
            walks=len(walking),
            schedules=tuple(schedules),
            seconds=monotonic() - begun,
            late=tuple(late),
            is_parked=job.is_parked,
        )


@asynccontextmanager
async def telling(job: _Rebuilding, progress: Progress) -> AsyncIterator[None]:
    """Tell the progress again and again: the rebuild may wait for minutes."""

    async def tell() -> None:
        while True:
            progress(job.found + job.started, job.total, job.doing)
            await asyncio.sleep(TELL_SECONDS)

    told = asyncio.create_task(tell())
    try:
        yield
        progress(job.found + job.started, job.total, job.doing)
    finally:
        told.cancel()
        with suppress(asyncio.CancelledError):
            await told


async def _prepare(job: _Rebuilding) -> list[str]:
    """Make missing schedules, wait for workers, and return the schedules."""
    async with job.database.operator() as connection:
        job.total = await sweeps.count_open(connection)
    schedules = await ensure_schedules(job.client)
    job.doing = "waits for a worker"
    await need_workers(job.client)
    async with job.database.operator() as connection:
        job.is_parked = await parkings.current(connection) is not None
    return schedules


async def _go_through(job: _Rebuilding) -> None:
    page: Sequence[Matter] = ()
    while True:
        after = page[-1].workflow_id if page else ""
        async with job.database.operator() as connection:
            page = await sweeps.open_page(connection, after, PAGE)
        await job.page(page)
        if len(page) < PAGE:
            return await job.drain(0)


async def need_workers(client: Client) -> None:
    """Wait until workers poll every queue.

    Errors: StackError when none does for a minute.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        asked = await patiently(lambda: pollers.polled(client))
        deserted = sorted({one.queue for one in asked if one.is_deserted(real_now())})
        if not deserted:
            return
        if monotonic() > deadline:
            raise StackError(
                f"no worker polls {' and '.join(deserted)}: start one, then repeat the command"
            )
        await asyncio.sleep(1)


async def _start(client: Client, matter: Matter, planned: Planned | None) -> bool:
    """Start the workflow unless it runs; return True if it was missing."""
    if await patiently(lambda: start.begin(client, matter, planned)):
        return True
    if planned is None:
        await patiently(lambda: start.nudge(client, matter))
    return False


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Call Temporal; retry while the server is busy. Errors: RPCError."""
    for pause in PAUSES:
        try:
            return await ask()
        except RPCError as error:
            if error.status not in OUT_OF_BREATH:
                raise
            await asyncio.sleep(pause)
    return await ask()
