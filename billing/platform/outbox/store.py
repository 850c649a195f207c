"""Reading what was published."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import Conflict
from billing.core.prepared import Prepared, given
from billing.platform.outbox.tables import events

_REACHED: Final = Prepared(
    select(func.max(events.c.seq)).where(
        events.c.account_id == given("account_id"), events.c.seq <= given("after")
    )
)


def listing(account_id: UUID, *, after: int, type: str | None = None) -> Select[Any]:
    """The account's events behind a number, in their order, which is that of their commits."""
    query = select(events).where(events.c.account_id == account_id, events.c.seq > after)
    return (query if type is None else query.where(events.c.type == type)).order_by(events.c.seq)


async def refuse_rewound(connection: AsyncConnection, account_id: UUID, after: int) -> None:
    """Whoever knows a number that is no event's was told of some that a restore has lost.

    Errors: EVENTS_REWOUND, with the last number that he and this database both know.
    """
    if after == 0:
        return
    last = await _REACHED.scalar(connection, account_id=account_id, after=after) or 0
    if last != after:
        raise Conflict(
            "EVENTS_REWOUND",
            f"no event has the number {after}; the database was restored: go on after {last}",
            next_after=last,
        )
