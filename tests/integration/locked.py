"""Locks that another session holds for a while: the order of those who wait is certain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg

from devstack.stack import StackInfo, dsn
from tests.integration.actors import Actors, Customer, wait_for

LOCKED: Final = "SELECT FROM credit_balances WHERE account_id = %s FOR UPDATE"
WAITING: Final = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'billing'"
)
BEHIND: Final = "SELECT pid FROM pg_stat_activity WHERE %(pid)s = ANY (pg_blocking_pids(pid))"


@asynccontextmanager
async def other_session(stack: StackInfo) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """One of the superuser; its one transaction commits at the end."""
    async with await psycopg.AsyncConnection.connect(dsn(stack.superuser_url)) as connection:
        yield connection


@asynccontextmanager
async def held(customer: Customer) -> AsyncIterator[None]:
    """Meanwhile the account's lock is somebody else's."""
    async with other_session(customer.actors.stack) as connection:
        await connection.execute(LOCKED, [customer.uuid])
        yield


async def waiting(customer: Customer, number: int) -> None:
    """So many wait for a lock."""
    await wait_for(
        lambda: customer.actors.sql(WAITING), f"{number} wait", lambda found: len(found) >= number
    )


async def waiting_behind(actors: Actors, session: psycopg.AsyncConnection[Any]) -> None:
    """Somebody waits for what this session has locked."""
    pid = session.info.backend_pid
    await wait_for(lambda: actors.sql(BEHIND, pid=pid), "somebody waits for it")
