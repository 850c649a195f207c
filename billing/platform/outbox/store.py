"""Reading what was published."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from billing.platform.outbox.tables import events


def listing(account_id: UUID, *, after: int, type: str | None = None) -> Select[Any]:
    """The account's events behind a number, in their order, which is that of their commits."""
    query = select(events).where(events.c.account_id == account_id, events.c.seq > after)
    return (query if type is None else query.where(events.c.type == type)).order_by(events.c.seq)
