"""The heartbeat of a process while it serves."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from billing.core import ids, open_files
from billing.core.background import in_background
from billing.core.clock import real_now
from billing.core.connections import shortage
from billing.core.database import Database
from billing.core.database_room import room
from billing.core.database_words import database_words
from billing.core.errors import Unavailable
from billing.core.settings import VERSION
from billing.platform.processes import store
from billing.platform.processes.rules import BEAT, CLOCK_TOLERANCE, IDLES, wanted
from billing.platform.processes.schemas import (
    Deliveries,
    Failures,
    Figures,
    Pool,
    Process,
    ProcessKind,
)

FORGET_AFTER: Final = timedelta(days=1)
SURELY_KEPT: Final = FORGET_AFTER / 2
"""The heartbeat of a process is not forgotten so soon, whatever its clock says."""
_ASTRAY: Final = "this process's clock is %+.0f s from the database's, it %s: see its host's NTP"
_logger = logging.getLogger("billing.processes")


class Pulse:
    """The heartbeat of this process."""

    def __init__(
        self,
        database: Database,
        kind: ProcessKind,
        deliveries: Callable[[], tuple[Deliveries, ...]] = tuple,
        refusing: Callable[[], Iterable[str]] = tuple,
        unknown_object: Callable[[], str | None] = lambda: None,
        failures: Callable[[], tuple[Failures, ...]] = tuple,
        agreed: Mapping[str, str] | None = None,
        clock_tolerance: timedelta = CLOCK_TOLERANCE,
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._refusing, self._unknown_object = refusing, unknown_object
        self._failures = failures
        self._agreed = dict(agreed or {})
        self._refusals: dict[str, datetime] = {}
        self._beats, self._beaten_at = 0, real_now()
        self._lacks_commits = False
        self._clock_tolerance = clock_tolerance
        self._is_fit, self._is_astray = asyncio.Event(), asyncio.Event()
        now = real_now()
        self._own = Process(
            id=ids.new(),
            kind=kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=VERSION,
            started_at=now,
            seen_at=now,
            clock_ahead=timedelta(),
        )

    async def beat(self) -> None:
        """Write a heartbeat. Errors: SQLAlchemyError if Postgres is unavailable or read-only."""
        pools = {
            name: Pool(busy=busy, size=size)
            for name, (busy, size) in self._database.in_use().items()
        }
        now = real_now()
        self._refusals = {name: self._refusals.get(name, now) for name in self._refusing()}
        figures = Figures(
            pools=pools,
            behind_pooler=self._database.behind_pooler,
            deliveries=self._deliveries(),
            refusals=self._refusals,
            unknown_object=self._unknown_object(),
            failures=self._failures(),
            agreed=self._agreed,
            has_wrong_clock=self.is_astray,
            lacks_commits=self._lacks_commits,
        )
        own, before = self._own.model_copy(update={"figures": figures}), self._beats
        async with self._database.tenant() as connection:
            # Only now: a wait for the connection is no difference of clocks.
            asked_at = real_now()
            beats, at = await store.beat(connection, own, asked_at)
            answered_at = real_now()
        self._compare(before, beats)
        self._judge_clock(at, asked_at, answered_at)

    def _judge_clock(self, at: datetime, asked_at: datetime, answered_at: datetime) -> None:
        """Note whether this clock is too far from the database's, which said `at` between two
        times of ours: a slow answer is no difference.
        """
        ahead = max(asked_at - at, timedelta()) or min(answered_at - at, timedelta())
        was_astray = self.is_astray
        if abs(ahead) > self._clock_tolerance:
            self._is_astray.set()
            self._is_fit.clear()
            if not was_astray:
                _logger.error(_ASTRAY, ahead.total_seconds(), IDLES[self._own.kind])
            return
        self._is_astray.clear()
        self._is_fit.set()
        if was_astray:
            _logger.warning("this process's clock is the database's again")

    def _compare(self, before: int, beats: int) -> None:
        """Compare the database's count of heartbeats with the number that were committed `before`
        the last one began: it is behind after a failover that lost commits, or after a restore.
        """
        now = real_now()
        is_forgotten = beats == 1 and now - self._beaten_at > SURELY_KEPT
        if beats > before:
            beats = max(beats, self._beats)  # another may have ended meanwhile
        elif not is_forgotten:
            self._lacks_commits = True
            _logger.error("the database lacks commits that this process had made")
        self._beats, self._beaten_at = beats, now

    @property
    def is_astray(self) -> bool:
        """True while the clock is too far from the database's."""
        return self._is_astray.is_set()

    def refuse(self) -> None:
        """Raise while the clock is too far from the database's: what is written now would have
        its dates. Errors: UNAVAILABLE.
        """
        if self.is_astray:
            raise Unavailable("UNAVAILABLE", "the clock of this process is wrong")

    async def fit(self) -> None:
        """Wait until a heartbeat is written, and the clock is the database's."""
        await self._is_fit.wait()

    async def astray(self) -> None:
        """Wait until the clock is too far from the database's."""
        await self._is_astray.wait()

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat while the block runs; leave at its end."""
        try:
            async with in_background(self._go_on()):
                yield
        finally:
            self._beats = 0
            with suppress(SQLAlchemyError):  # then it counts as silent, which is true
                async with self._database.tenant() as connection:
                    await store.leave(connection, self._own.id)

    async def _go_on(self) -> None:
        forgotten = False
        while True:
            if open_files.has_room():
                forgotten = await self._try_beat(forgotten)
            else:
                # Pooled connections would go on, but callers are turned away: it is silent.
                _logger.error("no further connection can be opened: the limit of open files")
            await asyncio.sleep(BEAT.total_seconds())

    async def _try_beat(self, forgotten: bool) -> bool:
        """Beat; at first forget old processes, and warn of too few connections. Return whether
        that is done.
        """
        try:
            await self.beat()
            if not forgotten:
                async with self._database.tenant() as connection:
                    await store.forget(connection, FORGET_AFTER)
                    now, found = await store.known(connection)
                    said = shortage(*wanted(found, now), await room(connection))
                if said:
                    _logger.warning("%s", said)
        except SQLAlchemyError as error:
            _logger.warning("no sign of life could be written: %s", database_words(error))
            return forgotten
        return True
