"""An account that is locked for a while: the order of those who wait for it is certain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg

from devstack.stack import dsn
from tests.integration.actors import Customer, wait_for

LOCKED: Final = "SELECT FROM credit_balances WHERE account_id = %s FOR UPDATE"
WAITING: Final = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'billing'"
)


@asynccontextmanager
async def held(customer: Customer) -> AsyncIterator[None]:
    """Meanwhile the account's lock is somebody else's."""
    url = dsn(customer.actors.stack.superuser_url)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(LOCKED, [customer.uuid])
        yield


async def waiting(customer: Customer, number: int) -> None:
    """So many wait for a lock."""
    await wait_for(
        lambda: customer.actors.sql(WAITING), f"{number} wait", lambda found: len(found) >= number
    )
