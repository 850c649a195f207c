"""Read published events, and delete old ones."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import Conflict
from billing.core.prepared import Prepared, given
from billing.platform.outbox.tables import dropped_events as dropped
from billing.platform.outbox.tables import events

_REACHED: Final = select(func.max(events.c.seq)).where(
    events.c.account_id == given("account_id"), events.c.seq <= given("after")
)
_LAST: Final = Prepared(_REACHED)
_DROPPED: Final = select(dropped.c.last_number).where(dropped.c.account_id == given("account_id"))
# In one statement, which sees one instant: events are deleted meanwhile.
_KNOWN: Final = Prepared(
    select(_DROPPED.scalar_subquery().label("gone"), _REACHED.scalar_subquery().label("reached"))
)
PAGE: Final = 1_000
"""Events deleted in one transaction."""
# Index scans whatever the statistics say: a few rows of each account, found by number.
_BY_INDEX: Final = text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)
# Ids are in the order of real time, but two made at once may be numbered the other way round: an
# account's events are deleted up to a number, so that the rest has no gap.
_DROP: Final = text(
    """
    WITH page AS (
        SELECT id, account_id, seq, created_at FROM events
        WHERE id > :after AND id < :until ORDER BY id LIMIT :limit
    ), marked AS (
        INSERT INTO dropped_events AS d (account_id, last_number, at)
        SELECT account_id, max(seq), max(created_at) FROM page
        GROUP BY account_id ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE
        SET last_number = greatest(d.last_number, excluded.last_number),
            at = greatest(d.at, excluded.at)
        RETURNING account_id, last_number
    ), gone AS (
        DELETE FROM events e USING marked m
        WHERE e.account_id = m.account_id AND e.seq <= m.last_number
        RETURNING e.id
    )
    SELECT (SELECT count(*) FROM gone) AS many,
        (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last
    """
)


def listing(account_id: UUID, *, after: int, type: str | None = None) -> Select[Any]:
    """Select the account's events after a number, in the order of their commits."""
    query = select(events).where(events.c.account_id == account_id, events.c.seq > after)
    return (query if type is None else query.where(events.c.type == type)).order_by(events.c.seq)


async def last_number(connection: AsyncConnection, account_id: UUID) -> int | None:
    """Return the number of the account's last event that is kept."""
    found: int | None = await _LAST.scalar(connection, account_id=account_id, after=2**62)
    return found


async def refuse_unknown(connection: AsyncConnection, account_id: UUID, after: int) -> None:
    """Refuse a number that is no event's: the caller missed deleted events, or has seen events that
    a restore has lost.

    Errors: EVENTS_GONE and EVENTS_REWOUND, with the number to continue after.
    """
    if after == 0:
        return
    known = await _KNOWN.one(connection, account_id=account_id, after=after)
    gone = known["gone"] or 0
    if after < gone:
        raise Conflict(
            "EVENTS_GONE",
            f"events up to {gone} were deleted; re-read the affected objects and continue after"
            f" {gone}",
            next_after=gone,
        )
    last = known["reached"] or gone
    if last != after:
        raise Conflict(
            "EVENTS_REWOUND",
            f"there is no event {after}; if the database was restored, continue after {last}",
            next_after=last,
        )


async def drop(
    connection: AsyncConnection, before: datetime, after: UUID
) -> tuple[int, UUID | None]:
    """Delete a page of events written before then, in real time; return how many, and the id after
    which the next page begins (None: there are no more).
    """
    await connection.execute(_BY_INDEX)
    values = {"after": after, "until": ids.first_of(before), "limit": PAGE}
    found = (await connection.execute(_DROP, values)).one()
    return found.many, found.last
