"""Commands of people, each carried out once by its key, beside the steps of the agenda.

A command is an idempotent request of the API or an update from the Temporal UI; what came of it
is a row of `steps`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters.agenda import Step
from billing.matters.store import claim_step
from billing.matters.tables import steps


async def result_of(connection: AsyncConnection, key: str) -> str | None:
    """The result of the command with this key; None when it was not carried out yet."""
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
    await claim_step(
        connection,
        Step(name=name, due=at, key=key),
        workflow_id=workflow_id,
        account_id=account_id,
        ran_at=at,
        result=result,
    )
