"""Orders of people, each carried out once by its mark: beside the steps that time calls for.

An order is an idempotent request of the API or an update from the Temporal UI; what came of it
is a row of `steps`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.agenda import Step
from billing.core.clock import real_now
from billing.core.matters import Matter, claim_step, steps


async def result_of(connection: AsyncConnection, key: str) -> str | None:
    """What came of the order with this key; None when it was not carried out yet."""
    found: str | None = await connection.scalar(select(steps.c.result).where(steps.c.key == key))
    return found


async def note(
    connection: AsyncConnection,
    *,
    key: str,
    name: str,
    workflow_id: str,
    account_id: UUID,
    subject_id: UUID,
    at: datetime,
    result: str,
) -> None:
    """Remember the order with what came of it, in the transaction that carries it out."""
    matter = Matter(
        workflow_id=workflow_id,
        account_id=account_id,
        kind=workflow_id.partition("/")[0],
        subject_id=subject_id,
    )
    step = Step(name=name, due=at, key=key)
    await claim_step(connection, matter, step, ran_at=at, real_ran_at=real_now(), result=result)
