"""Queries on idempotency keys: claim with lease and takeover, finish, forget, purge.

Leases and lifetimes are measured by the database's clock: those of two processes differ.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, Row, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.platform.idempotency.schemas import (
    LEASE,
    LIFETIME,
    Granted,
    KeyedRequest,
    Refused,
    StoredAnswer,
)
from billing.platform.idempotency.tables import billing_idempotency as keys

PURGE_BATCH = 5_000
_NOW: Final = func.statement_timestamp(type_=DateTime(timezone=True))


async def claim(
    connection: AsyncConnection, request: KeyedRequest
) -> Granted | StoredAnswer | Refused:
    """Claim the key, or return the stored answer or refusal.

    A key older than 24 h counts as new. An expired lease is taken over with the resource id of the
    first try, so that its rows are found again.
    """
    row = (await connection.execute(_take(request))).one_or_none()
    if row is not None:
        return Granted(resource_id=row.resource_id, lease=row.lease, resumed=row.resumed)
    is_held = (keys.c.lease_until > _NOW).label("is_held")
    kept = (await connection.execute(select(keys, is_held).where(_is(request)))).one_or_none()
    if kept is None:
        # Forgotten between the two statements: its holder is just finishing.
        return Refused(reason="in_flight")
    return _verdict(kept, request)


async def as_kept_before(
    connection: AsyncConnection, request: KeyedRequest, before: KeyedRequest
) -> KeyedRequest:
    """Return `before` if its key is already stored, else the request.

    The previous release stores operators' keys for all accounts together, and hashes an amount as
    it is written; a repeat must find what it stored.
    """
    same = and_(_is(before), keys.c.request_hash == before.request_hash, keys.c.expires_at > _NOW)
    kept = await connection.scalar(select(keys.c.scope).where(same))
    return request if kept is None else before


async def keep(
    connection: AsyncConnection, request: KeyedRequest, granted: Granted, answer: StoredAnswer
) -> bool:
    """Store the answer for when the lease ends; False: the lease was taken over meanwhile."""
    kept = await connection.execute(
        update(keys)
        .where(_is(request), keys.c.lease == granted.lease)
        .values(**answer.model_dump())
    )
    return kept.rowcount > 0


async def finish(
    connection: AsyncConnection, request: KeyedRequest, granted: Granted, answer: StoredAnswer
) -> None:
    """Store the answer, and end the lease; do nothing if it was taken over."""
    await connection.execute(
        update(keys)
        .where(_is(request), keys.c.lease == granted.lease)
        # Well in the past, because the previous release compares it with a process's clock.
        .values(lease_until=_NOW - LEASE, **answer.model_dump())
    )


async def release(connection: AsyncConnection, request: KeyedRequest, granted: Granted) -> None:
    """End the lease without an answer: the same key may resume the same resource at once."""
    await connection.execute(
        update(keys).where(_is(request), keys.c.lease == granted.lease).values(lease_until=_NOW)
    )


async def forget(connection: AsyncConnection, request: KeyedRequest, granted: Granted) -> None:
    """Delete the key, because the request did nothing; the same key starts with a new resource."""
    await connection.execute(delete(keys).where(_is(request), keys.c.lease == granted.lease))


async def purge(connection: AsyncConnection, before: datetime) -> int:
    """Remove the oldest keys that expired before `before`, a batch [P10]; return how many."""
    old = select(keys.c.scope, keys.c.route, keys.c.key).where(keys.c.expires_at < before)
    # In the order of an index: about half of all keys are old, and without it all would be read.
    first = old.order_by(keys.c.expires_at).limit(PURGE_BATCH)
    batch = first.with_for_update(skip_locked=True).subquery()
    gone = await connection.execute(
        delete(keys).where(
            keys.c.scope == batch.c.scope,
            keys.c.route == batch.c.route,
            keys.c.key == batch.c.key,
        )
    )
    return gone.rowcount


def _take(request: KeyedRequest) -> Any:
    fresh = insert(keys).values(
        scope=request.scope,
        route=request.route,
        key=request.key,
        account_id=request.account_id,
        request_hash=request.request_hash,
        resource_id=ids.new(),
        lease=ids.new(),
        lease_until=_NOW + LEASE,
        created_at=_NOW,
        expires_at=_NOW + LIFETIME,
    )
    new = fresh.excluded
    over = keys.c.expires_at <= _NOW
    abandoned = and_(
        keys.c.request_hash == new.request_hash,
        keys.c.status.is_(None),
        keys.c.lease_until <= _NOW,
    )
    return fresh.on_conflict_do_update(
        index_elements=[keys.c.scope, keys.c.route, keys.c.key],
        set_={
            "request_hash": new.request_hash,
            "resource_id": case((over, new.resource_id), else_=keys.c.resource_id),
            "lease": new.lease,
            "lease_until": new.lease_until,
            "created_at": case((over, new.created_at), else_=keys.c.created_at),
            "expires_at": case((over, new.expires_at), else_=keys.c.expires_at),
            "status": None,
            "media_type": None,
            "body": None,
        },
        where=or_(over, abandoned),
    ).returning(
        keys.c.resource_id,
        keys.c.lease,
        # A row inserted here was created now; a takeover keeps its first creation time.
        (keys.c.created_at < _NOW).label("resumed"),
    )


def _is(request: KeyedRequest) -> Any:
    return and_(
        keys.c.scope == request.scope,
        keys.c.route == request.route,
        keys.c.key == request.key,
    )


def _verdict(row: Row[Any], request: KeyedRequest) -> StoredAnswer | Refused:
    if row.request_hash != request.request_hash:
        return Refused(reason="reused")
    if row.status is None or row.is_held:
        return Refused(reason="in_flight")
    return StoredAnswer(status=row.status, media_type=row.media_type, body=row.body)
