"""Queries on limits agreed with an account. Writers must hold the account's lock."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.schemas import Limit
from billing.core import ids, row_writes
from billing.core.periods import FOREVER
from billing.core.prepared import Fields, Prepared
from billing.core.transaction_settings import allow_whole_cycle
from billing.metering.limit_overrides.schemas import LimitOverride
from billing.metering.limit_overrides.tables import limit_overrides

Agreed = tuple[datetime | None, datetime | None]
"""The instants from and to which a contract applies."""
_FOLLOW: Final = Prepared(text("SELECT usage_follow_limits(:account_id, :at)"))
# Not by `_lasting`: decisions are written in a pipeline, where SQLAlchemy's own statements find no
# rows yet.
_LASTING: Final = Prepared(
    text(
        "SELECT * FROM limit_overrides WHERE account_id = :account_id"
        " AND coalesce(effective_to, 'infinity') > :at"
    )
)


def listing(account_id: UUID) -> Select[Any]:
    """Select every limit agreed with an account; the caller adds order and limit."""
    return select(limit_overrides).where(limit_overrides.c.account_id == account_id)


async def ahead(
    connection: AsyncConnection, account_id: UUID, meter: str, at: datetime
) -> Sequence[LimitOverride]:
    """Return a meter's override in force at an instant, and later ones, in order."""
    query = listing(account_id).where(limit_overrides.c.meter == meter, _lasting(at))
    rows = await connection.execute(query.order_by(limit_overrides.c.effective_from))
    return [show(row) for row in rows.mappings()]


async def holding(connection: AsyncConnection, account_id: UUID, at: datetime) -> dict[str, Limit]:
    """Return the limits in force at an instant, by meter."""
    begun = limit_overrides.c.effective_from <= at
    rows = await connection.execute(listing(account_id).where(begun, _lasting(at)))
    return {row["meter"]: show(row).limit for row in rows.mappings()}


async def begin(
    connection: AsyncConnection, account_id: UUID, limit: Limit, start: datetime,
    end: datetime | None, agreed: Agreed, now: datetime,
) -> LimitOverride:  # fmt: skip
    """Agree a limit from `start` on, replacing everything agreed for that time."""
    await stop(connection, account_id, limit.meter, start, end, agreed, now=now)
    terms = limit.model_dump(mode="json")
    made = await connection.execute(
        insert(limit_overrides)
        .values(
            id=ids.new(),
            account_id=account_id,
            meter=limit.meter,
            included=limit.included,
            beyond=limit.then,
            prices=terms["prices"],
            effective_from=start,
            effective_to=end,
            agreed_from=agreed[0],
            agreed_to=agreed[1],
        )
        .returning(limit_overrides)
    )
    return show(made.mappings().one())


async def stop(
    connection: AsyncConnection, account_id: UUID, meter: str, at: datetime,
    until: datetime | None = None, agreed: Agreed = (None, None), *, now: datetime,
) -> None:  # fmt: skip
    """End a meter's agreement at `at`, and have those to come before `until` (None: all) begin
    then; `agreed` are the instants that a contract names for the two. One agreed for `now` is not
    to come.
    """
    known = limit_overrides.c
    begins, ends, last = known.effective_from, known.effective_to, until or FOREVER
    # The instants of contracts decide: several may have the same next period.
    since, to = (literal(one, begins.type) for one in agreed)
    signed = begins if agreed[0] is None else func.coalesce(known.agreed_from, begins)
    which = and_(known.account_id == account_id, known.meter == meter)
    put_off = or_(begins < last, known.agreed_from < to)
    replaced = or_(signed <= now, signed < (agreed[0] or at))
    # An agreement that will never be in force needs no record.
    never = or_(replaced, and_(put_off, func.coalesce(ends, FOREVER) <= last))
    await connection.execute(delete(limit_overrides).where(which, begins >= at, never))
    await connection.execute(
        update(limit_overrides)
        .where(which, begins >= at, put_off)
        .values(effective_from=last, agreed_from=to)
    )
    await connection.execute(
        update(limit_overrides)
        .where(which, begins < at, or_(_lasting(at), and_(ends == at, known.agreed_to > since)))
        .values(effective_to=at, agreed_to=since)
    )


async def move(
    connection: AsyncConnection, account_id: UUID, starts: Mapping[datetime, datetime], at: datetime
) -> None:
    """Have agreements that begin or end later do so where the periods of their instants start.

    One that no period begins under is deleted.
    """
    moved = list[dict[str, Any]]()
    for row in await _LASTING.all(connection, account_id=account_id, at=at):
        new = dict(row)
        for name, agreed in (("effective_from", "agreed_from"), ("effective_to", "agreed_to")):
            if row[name] is not None and row[name] > at:
                new[name] = starts.get(row[agreed], row[name])
        if new != row:
            moved.append(new)
    # One may take the place that another leaves.
    for one in moved:
        await row_writes.send_removal(connection, limit_overrides, one["id"])
    for one in moved:
        if one["effective_from"] < (one["effective_to"] or FOREVER):
            await row_writes.send_add(connection, limit_overrides, one)


async def follow(connection: AsyncConnection, account_id: UUID, at: datetime) -> datetime | None:
    """Apply the current agreements to the open cycle; return when they change next.

    Takes the account's lock.
    """
    await allow_whole_cycle(connection)
    found: datetime | None = await _FOLLOW.scalar(connection, account_id=account_id, at=at)
    return found


def show(row: Fields) -> LimitOverride:
    """Return a row of `limit_overrides` as an agreement."""
    limit = Limit(
        meter=row["meter"], included=row["included"], then=row["beyond"], prices=row["prices"]
    )
    known = {name: row[name] for name in LimitOverride.model_fields if name != "limit"}
    return LimitOverride(**known, limit=limit)


def _lasting(at: datetime) -> ColumnElement[bool]:
    """Match limits that have not ended at an instant."""
    return or_(limit_overrides.c.effective_to.is_(None), limit_overrides.c.effective_to > at)
