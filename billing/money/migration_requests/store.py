"""Queries on migration requests."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.core.prepared import Fields
from billing.money.migration_requests.schemas import MigrationRequest, Status
from billing.money.migration_requests.tables import migration_requests


async def find(
    connection: AsyncConnection, request_id: UUID, *, locked: bool = False
) -> MigrationRequest | None:
    """Return one request; `locked` keeps other writers from it."""
    query = select(migration_requests).where(migration_requests.c.id == request_id)
    row = await prepared.find(connection, query.with_for_update() if locked else query)
    return show(row) if row is not None else None


async def count_queued(connection: AsyncConnection, account_id: UUID) -> int:
    """Return how many requests of the account wait for an operator."""
    query = select(func.count()).where(
        migration_requests.c.account_id == account_id, migration_requests.c.handled_at.is_(None)
    )
    return int(await connection.scalar(query) or 0)


def listing(*, account_id: UUID | None, status: Status | None) -> Select[Any]:
    """Select requests for the operators' list; the caller adds order and limit."""
    query = select(migration_requests)
    if account_id is not None:
        query = query.where(migration_requests.c.account_id == account_id)
    if status is not None:
        is_queued = migration_requests.c.handled_at.is_(None)
        query = query.where(is_queued if status == "queued" else ~is_queued)
    return query


def show(row: Fields) -> MigrationRequest:
    """Return a row of `listing` as a request."""
    return MigrationRequest(**row)
