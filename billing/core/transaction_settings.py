"""Settings of one transaction: whose rows it sees, how it plans, the time of its statements."""

from typing import Final
from uuid import UUID

from psycopg.pq import TransactionStatus
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import FIRST, PLANNED, PLANS, Prepared, driver_of

STATEMENT_TIMEOUT_MS: Final = 5_000
CYCLE_STATEMENT_MS: Final = 10_000
"""Limit of a statement that may change all uses of a cycle: one that is cut off each time would
never be done. With the provider's call it fits into a try of a step (workflows/policies.py).
"""
WHOLE_TABLE_MS: Final = 300_000
"""Limit of an operator's statement that reads a whole table, perhaps from a cold disk."""
WHOLE_ACCOUNT_MS: Final = 900_000
"""Limit of a statement that reads all rows of one account, perhaps tens of millions of uses."""
NOTICES_DEATH_MS: Final = 2_000
"""Postgres looks so often, during a long statement, whether its program still lives."""

# A wait for a lock ends after the usual time, so a step fails before it calls the provider.
_WHOLE_CYCLE: Final = (
    f"SELECT set_config('statement_timeout', '{CYCLE_STATEMENT_MS}', true),"
    f" set_config('lock_timeout', '{STATEMENT_TIMEOUT_MS}', true)"
)
_BY_INDEX: Final = text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('random_page_cost', '1', true),"
    " set_config('max_parallel_workers_per_gather', '0', true),"
    " set_config('plan_cache_mode', 'force_custom_plan', true)"
)
_BEGIN: Final = Prepared(text("BEGIN"))
_SHOW: Final = Prepared(text(f"SELECT set_config('app.accounts', :account, true), {PLANS}"))
_DECIDE: Final = Prepared(
    text(f"{_WHOLE_CYCLE}, set_config('app.accounts', :account, true), {PLANS}")
)


async def glance(account_id: UUID, connection: AsyncConnection) -> None:
    """Begin each `answers` of `Database.glancing`."""
    await _SHOW.send_kept(connection, account=str(account_id))


async def decide(account_id: UUID, connection: AsyncConnection) -> None:
    """Begin the first `answers` of `Database.deciding`, and with them the transaction."""
    del connection.info[FIRST]
    if driver_of(connection).pgconn.transaction_status == TransactionStatus.IDLE:
        await _BEGIN.send_kept(connection)
    await _DECIDE.send_kept(connection, account=str(account_id))


async def limit_statements(connection: AsyncConnection, milliseconds: int) -> None:
    """Set the timeout of this transaction's further statements; one whose program has died ends
    within seconds, with its locks.
    """
    await connection.execute(
        text(
            f"SELECT set_config('statement_timeout', '{milliseconds}', true),"
            f" set_config('client_connection_check_interval', '{NOTICES_DEATH_MS}', true)"
        )
    )


async def read_by_index(connection: AsyncConnection) -> None:
    """Have this transaction find its rows by index, however many they are.

    The planner overestimates random reads and would scan a whole table in parallel.
    """
    await connection.execute(_BY_INDEX)


async def allow_whole_cycle(connection: AsyncConnection) -> None:
    """Give this transaction's further statements the time to change all uses of a cycle; a step has
    it from its beginning.
    """
    if PLANNED not in connection.info:
        await connection.execute(text(_WHOLE_CYCLE))
