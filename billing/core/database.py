"""Connections to Postgres: tenant transactions under row-level security, operator ones without it.

Routes and activities open the transaction; nothing deeper commits
(docs/architecture.md#rules-of-the-flow).
"""

import asyncio
import logging
import select
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, cast
from uuid import UUID

import psycopg
from psycopg.pq import PipelineStatus
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from billing.core.database_errors import takes_no_writes
from billing.core.prepared import FIRST, PLANNED, driver_of, undo, wrapped
from billing.core.settings import Settings
from billing.core.transaction_settings import STATEMENT_TIMEOUT_MS, decide, glance
from billing.core.with_commit import DEFERRED, Deferred

IDLE_TRANSACTION_MS: Final = 60_000
"""Postgres ends a transaction whose program says nothing for so long, and frees its locks: a host
that died between two statements closes no connection.
"""
POOL_TIMEOUT_SECONDS: Final = 5
CONNECT_TIMEOUT_SECONDS: Final = 3
NOTICES_DEATH: Final[dict[str, Any]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Detect a dead host, which closes no connection: without these a send blocks for 15 minutes, and a
wait for an answer for two hours. The last value is in milliseconds.
"""
LOUD: Final = {"row_security": "off"}
"""The operator's role bypasses row-level security. Once it no longer does, Postgres refuses its
statements: otherwise each would see no rows, and zero looks as if all were well.
"""
REPLICA_PAUSE_SECONDS: Final = 10
REPLICA_FAR_BEHIND: Final = timedelta(minutes=2)
"""The signs of life of the processes are commits, which come all the time."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_CREDITS_AT_START: Final = "credits_at_start"
_LOCAL: Final = "settings of each transaction"
_BEGIN: Final = "BEGIN"
_LAG: Final = text(
    "SELECT CASE WHEN pg_is_in_recovery() THEN greatest(interval '0', clock_timestamp()"
    " - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())) END"
)
_logger = logging.getLogger("billing.database")


class Database(AbstractAsyncContextManager["Database", None]):
    """Two pools: `tenant` transactions see only the named accounts, `operator` ones see all.

    A third pool reads from a replica, if there is one. Leaving its context closes them.
    """

    def __init__(
        self, tenant: AsyncEngine, operator: AsyncEngine, replica: AsyncEngine | None = None
    ) -> None:
        self.tenant_engine = tenant
        self.operator_engine = operator
        self.replica_engine = replica
        self._replica_from = 0.0

    @asynccontextmanager
    async def tenant(self, *account_ids: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction in which row-level security shows only these accounts' rows."""
        async with _transaction(self.tenant_engine, _showing(account_ids)) as connection:
            yield connection

    @asynccontextmanager
    async def deciding(self, account_id: UUID) -> AsyncIterator[AsyncConnection]:
        """As `tenant`, for a matter's step: its statements are planned once per connection, and may
        change all uses of a cycle. It begins with the first `answers`, in one round trip; a
        statement before them sees no rows.
        """
        begin = _BEGIN if self.behind_pooler else ""
        async with _transaction(self.tenant_engine, begin) as connection:
            connection.info.update({FIRST: partial(decide, account_id), PLANNED: True})
            yield connection

    @asynccontextmanager
    async def glancing(self, account_id: UUID) -> AsyncIterator[AsyncConnection]:
        """As `tenant`, for calls of `answers`: each is a transaction of its own, in one round trip.
        Any other statement sees no rows.
        """
        async with _alone(self.tenant_engine) as connection:
            connection.info[FIRST] = partial(glance, account_id)
            try:
                yield connection
            finally:
                connection.info.pop(FIRST, None)

    @asynccontextmanager
    async def reading(
        self, *account_ids: UUID, fresh: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """As `tenant`, for reads that may be slightly stale: on the replica if there is one.

        Reads the primary if there is no replica, if it is unavailable, or if `fresh` is set.
        """
        begin = _showing(account_ids)
        async with AsyncExitStack() as stack:
            connection = None
            if self.replica_engine is not None and not fresh and monotonic() >= self._replica_from:
                try:
                    begun = _transaction(self.replica_engine, begin)
                    connection = await stack.enter_async_context(begun)
                except (DBAPIError, PoolTimeout):
                    # Otherwise every read would wait for a server that is not there, or hangs.
                    self.pass_replica_by("away")
            if connection is None:
                begun = _transaction(self.tenant_engine, begin)
                connection = await stack.enter_async_context(begun)
            yield connection

    def pass_replica_by(self, reason: str) -> None:
        """Read from the primary for a while."""
        if monotonic() >= self._replica_from:
            _logger.warning("the replica is %s: reading from the primary for a while", reason)
        self._replica_from = monotonic() + REPLICA_PAUSE_SECONDS

    async def replica_lag(self) -> timedelta:
        """Return the age of the last commit that the replica has seen; it must be set.

        Raises DBAPIError or sqlalchemy's TimeoutError if it is away.
        """
        async with _transaction(cast(AsyncEngine, self.replica_engine), _BEGIN) as connection:
            return await self.lag(connection)

    async def lag(self, connection: AsyncConnection) -> timedelta:
        """Return the age of the last commit this connection sees; zero on the primary."""
        if connection.engine is not self.replica_engine:
            return timedelta()
        return (await connection.execute(_LAG)).scalar_one() or timedelta()

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[AsyncConnection]:
        """A transaction over all accounts, for sweepers, admin lists and key lookups."""
        async with _transaction(self.operator_engine, _BEGIN) as connection:
            yield connection

    @asynccontextmanager
    async def operator_statement(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that is its own transaction: spares two round trips."""
        async with _alone(self.operator_engine) as connection:
            yield connection

    @asynccontextmanager
    async def tenant_statement(self) -> AsyncIterator[AsyncConnection]:
        """As `operator_statement`, under row-level security: for functions that set it themselves.

        They show the rows of the accounts in their arguments; any other statement sees nothing.
        """
        async with _alone(self.tenant_engine) as connection:
            yield connection

    @property
    def behind_pooler(self) -> bool:
        """True if the connections are those of a pooler in transaction mode."""
        return bool(_local(self.tenant_engine))

    def in_use(self) -> dict[str, tuple[int, int]]:
        """Return each role's connections: (in use, maximum)."""
        engines = {"app": self.tenant_engine, "operator": self.operator_engine}
        pools = {name: cast(QueuePool, engine.pool) for name, engine in engines.items()}
        return {name: (pool.checkedout(), pool.size()) for name, pool in pools.items()}

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.tenant_engine.dispose()
        await self.operator_engine.dispose()
        if self.replica_engine is not None:
            await self.replica_engine.dispose()


def _showing(account_ids: Iterable[UUID]) -> str:
    """Return the BEGIN that has row-level security show only these accounts' rows."""
    accounts = ",".join(map(_text, account_ids))
    return f"{_BEGIN}; SELECT set_config('app.accounts', '{accounts}', true)"


def _text(account_id: UUID) -> str:
    """Return the id as text, rebuilt from its number so that nothing else enters the statement."""
    return str(UUID(int=account_id.int))


def credits_at_start(connection: AsyncConnection) -> bool:
    """True if this process grants a period's credits at its start, not when it is paid; steps and
    commands use the same setting.
    """
    return bool(connection.engine.get_execution_options().get(_CREDITS_AT_START))


@asynccontextmanager
async def _transaction(engine: AsyncEngine, begin: str) -> AsyncIterator[AsyncConnection]:
    """Run `begin`, or leave it to the first `answers` if it is empty; commit at the end, or roll
    back on an error.
    """
    connection = await (_begun(engine, begin + _local(engine)) if begin else _live(engine))
    driver, known = driver_of(connection), connection.info
    deferred = known[DEFERRED] = Deferred()
    try:
        yield connection
        if deferred:
            await deferred.commit(connection)
        else:
            await _commit(driver)
    except Exception as error:
        await (driver.close() if takes_no_writes(error) else undo(driver))
        raise
    finally:
        for name in (FIRST, PLANNED, DEFERRED):
            known.pop(name, None)
        await _hand_back(connection, driver)


async def _commit(driver: psycopg.AsyncConnection[Any]) -> None:
    """Commit; errors are wrapped as those of statements are."""
    try:
        await driver.commit()
    except psycopg.Error as error:
        raise wrapped(error, "COMMIT") from error


async def _begun(engine: AsyncEngine, begin: str) -> AsyncConnection:
    """Return a connection in a transaction; skip dead ones after a restart of Postgres."""
    for last in (False, True):
        connection = await engine.connect()
        try:
            await driver_of(connection).execute(begin.encode(), prepare=False)
            return connection
        except psycopg.OperationalError as error:
            dead = driver_of(connection).closed
            await connection.close()
            if last or not dead:
                raise wrapped(error, begin) from error
            await engine.dispose()
        except BaseException:
            await asyncio.shield(connection.close())
            raise
    raise AssertionError("two tries end in an answer")


@asynccontextmanager
async def _alone(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A live connection for one statement, which cannot be retried."""
    if _local(engine):
        async with _transaction(engine, _BEGIN) as connection:
            yield connection
        return
    connection = await _live(engine)
    driver = driver_of(connection)
    try:
        yield connection
    except Exception as error:
        if takes_no_writes(error):
            await driver.close()
        raise
    finally:
        await _hand_back(connection, driver)


async def _live(engine: AsyncEngine) -> AsyncConnection:
    """Return a connection that the server has not closed, for statements that are not retried."""
    connection = await engine.connect()
    if _hung_up(driver_of(connection)):
        await connection.invalidate()
        await connection.close()
        await engine.dispose()  # the others are just as old
        connection = await engine.connect()
    return connection


async def _hand_back(connection: AsyncConnection, driver: psycopg.AsyncConnection[Any]) -> None:
    """Roll back what was not committed; a dead connection leaves the pool, and so does one whose
    pipeline did not end because its task was canceled.
    """
    if driver.closed or driver.pgconn.pipeline_status != PipelineStatus.OFF:
        await connection.invalidate()
    await asyncio.shield(connection.close())


def _hung_up(driver: psycopg.AsyncConnection[Any]) -> bool:
    """True if there is something to read: an idle server sends only its closing message."""
    line = select.poll()
    line.register(driver.fileno(), select.POLLIN)
    return bool(line.poll(0))


def open_database(settings: Settings) -> Database:
    """Open all pools from settings; they connect on first use."""
    size, replica = settings.database_pool_size, settings.replica_database_url
    return Database(
        _engine(settings.database_url.get_secret_value(), settings, size),
        _engine(settings.operator_url.get_secret_value(), settings, size, LOUD),
        _engine(replica.get_secret_value(), settings, size) if replica else None,
    )


def _local(engine: AsyncEngine) -> str:
    """Return what each BEGIN adds behind a pooler in transaction mode, which passes no settings of
    a session on; nothing for other connections.
    """
    added: str = engine.get_execution_options().get(_LOCAL, "")
    return added


def _session(settings: Settings) -> dict[str, str]:
    """Return the settings of Postgres that every transaction has."""
    return {
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "TimeZone": "UTC",
        "idle_in_transaction_session_timeout": str(IDLE_TRANSACTION_MS),
        "search_path": settings.database_schema,
        "app.publish_usage": "on" if settings.publish_usage else "off",
    }


def _engine(
    url: str, settings: Settings, size: int, more: Mapping[str, str] = MappingProxyType({})
) -> AsyncEngine:
    session = {**_session(settings), **more}
    options = {"options": " ".join(f"-c {name}={value}" for name, value in session.items())}
    added = ""
    if settings.database_prepare_threshold is None:
        # A pooler in transaction mode refuses start-up options, or drops them.
        local = (f"set_config('{name}', '{value}', true)" for name, value in session.items())
        options, added = {}, f"; SELECT {', '.join(local)}"
    return create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",  # transactions begin explicitly: see _transaction
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_use_lifo=True,  # the fewer are used, the warmer are their plans and caches
        pool_pre_ping=False,
        hide_parameters=True,  # logs must not contain values of rows
        execution_options={
            _CREDITS_AT_START: settings.cycle_credits_at == "start",
            _LOCAL: added,
        },
        connect_args={
            "prepare_threshold": settings.database_prepare_threshold,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **NOTICES_DEATH,
            **options,
        },
    )
