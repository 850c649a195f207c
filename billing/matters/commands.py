"""Commands of people, each carried out once by its key, beside the steps of the agenda.

A command is an idempotent request of the API or an update from the Temporal UI; its result is a
row of `steps`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import row_writes
from billing.core.clock import real_now
from billing.matters.tables import steps


async def result_of(connection: AsyncConnection, key: str) -> str | None:
    """Return the result of the command or step with this key; None if it was not done yet."""
    found: str | None = await connection.scalar(select(steps.c.result).where(steps.c.key == key))
    return found


async def note(
    connection: AsyncConnection,
    *,
    key: str,
    name: str,
    workflow_id: str,
    account_id: UUID,
    at: datetime,
    result: str,
) -> None:
    """Record the command and its result, in the transaction that carries it out."""
    row = {
        "key": key,
        "workflow_id": workflow_id,
        "account_id": account_id,
        "name": name,
        "due_at": at,
        "ran_at": at,
        "real_ran_at": real_now(),
        "result": result,
    }
    await row_writes.add_unless_there(connection, steps, row)
