"""The queries behind reports, each read page by page in the order of its keys.

Each page is its own transaction, so that a slow reader of a long report keeps none open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.metering.usage import levels, sums
from billing.metering.usage import rules as usage_rules
from billing.metering.usage.tables import billing_records, usage_counters

GroupBy = Literal["record", "day", "meter", "user", "organization", "operation", "model"]
PAGE: Final = 1_000
_PREFIXES: Final = {"user": "u:", "organization": "o:", "operation": "a:", "model": "m:"}
_RECORD: Final = (
    "event_id", "user_id", "organization_id", "session_id", "request_id",
    "product_id", "service_type", "feature_type", "operation", "model", "meter", "usage_amount",
    "included_units", "charged_units", "unit_price", "total_amount", "currency",
    "billing_method", "billing_status", "is_free_tier", "is_late",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """A query and its sort columns, which are its first columns and together unique.

    `prefixed` names the column whose values are owners of counters, such as `u:ann`; `rest` then
    queries the usage without such an owner, whose rows come first.
    """

    query: Select[Any]
    keys: tuple[ColumnElement[Any], ...]
    prefixed: str | None = None
    rest: Select[Any] | None = None

    @property
    def columns(self) -> list[str]:
        """Return the names of the query's columns."""
        return list(self.query.selected_columns.keys())


def report(
    account_id: UUID,
    group_by: GroupBy,
    start: datetime,
    end: datetime,
    as_of: datetime,
    only_user: str | None = None,
) -> ReportQuery:
    """Return the report of usage from `start` to before `end`; records as of `as_of`.

    Reports by user and by record include only `only_user`, if given.
    """
    if group_by == "record":
        return _records(account_id, start, end, as_of, only_user)
    counter = usage_counters.c
    keys: tuple[ColumnElement[Any], ...] = (counter.meter,)
    query = select(counter.meter)
    if group_by == "day":
        keys = (counter.bucket, counter.meter)
        query = select(counter.bucket.label("day"), counter.meter)
    elif group_by in _PREFIXES:
        keys = (counter.owner, counter.meter)
        query = select(counter.owner.label(group_by), counter.meter)
    prefix = _PREFIXES.get(group_by)
    whose = sums.of_owner("") if prefix is None else sums.of_kind(prefix)
    where = sums.counted(account_id, "day", start, end)
    query = query.add_columns(*_sums(literal(1))).where(*where, whose).group_by(*keys)
    if prefix is None:
        return ReportQuery(query, keys)
    if group_by == "user" and only_user is not None:
        return ReportQuery(
            query.where(counter.owner == usage_rules.user(only_user)), keys, group_by
        )
    return ReportQuery(query, keys, group_by, _rest(where, whose, group_by))


def _sums(sign: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the sums of a group, each counter added or, with sign -1, subtracted.

    Of a level the quantity is the highest reading of them all, whatever the sign.
    """
    counter = usage_counters.c
    return [
        levels.quantity(counter.meter, sign * counter.quantity, counter.maximum),
        cast(func.sum(sign * counter.events), BigInteger).label("events"),
        func.sum(sign * counter.credits).label("credits"),
        func.sum(sign * counter.overage).label("overage"),
        func.sum(sign * counter.overage_total).label("overage_cost"),
    ]


def _rest(
    where: Sequence[ColumnElement[bool]], named: ColumnElement[bool], group_by: str
) -> Select[Any]:
    """Query the usage without an owner, by meter, so that the sums of all groupings agree."""
    counter = usage_counters.c
    sign = case((named, -1), else_=1)
    return (
        select(literal("").label(group_by), counter.meter, *_sums(sign))
        .where(*where, or_(counter.owner == "", named))
        .group_by(counter.meter)
        .having(func.sum(sign * counter.events) != 0)
        .order_by(counter.meter)
    )


async def page(
    connection: AsyncConnection, asked: ReportQuery, after: Sequence[Any] | None
) -> Sequence[Any]:
    """Return the next rows after these key values, or the first rows."""
    query = asked.query.order_by(*asked.keys).limit(PAGE)
    if after is not None:
        mark = (literal(value, key.type) for value, key in zip(after, asked.keys, strict=True))
        query = query.where(tuple_(*asked.keys) > tuple_(*mark))
    rows = list((await connection.execute(query)).all())
    if after is None and asked.rest is not None:
        rows[:0] = (await connection.execute(asked.rest)).all()
    return rows


def _records(
    account_id: UUID, start: datetime, end: datetime, as_of: datetime, only_user: str | None
) -> ReportQuery:
    record = billing_records.c
    shown = (record.occurred_at, record.id.label("billing_id"), *(record[n] for n in _RECORD))
    query = select(*shown).where(
        record.account_id == account_id,
        record.occurred_at >= start,
        record.occurred_at < end,
        record.created_at <= as_of,
    )
    if only_user is not None:
        query = query.where(record.user_id == only_user)
    return ReportQuery(query, (record.occurred_at, record.id))
