"""The register of matters as operators see it: what is open, what is halted, what comes next."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.core.frozen import Frozen
from billing.core.prepared import written
from billing.matters.schemas import Status
from billing.matters.tables import matters


class Entry(Frozen):
    """A row of `matters`."""

    workflow_id: str
    account_id: UUID
    kind: str
    status: Status
    words: str
    revision: int
    next_due: AwareDatetime | None
    next_step: str | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    closed_at: AwareDatetime | None


def listing(
    *, status: Status | None = None, kind: str | None = None, account_id: UUID | None = None
) -> Select[Any]:
    """Select the matters that match; the caller orders and limits."""
    query = select(matters)
    if status is not None:
        query = query.where(matters.c.status == written(status))
        if status != "closed":
            # The partial indexes have this condition: without it the planner does not use them.
            query = query.where(matters.c.closed_at.is_(None))
    if kind is not None:
        query = query.where(matters.c.kind == kind)
    return query if account_id is None else query.where(matters.c.account_id == account_id)


async def find(connection: AsyncConnection, workflow_id: str) -> Entry | None:
    """One matter by its workflow id."""
    query = select(matters).where(matters.c.workflow_id == workflow_id)
    row = await prepared.find(connection, query)
    return Entry.model_validate(dict(row)) if row is not None else None
