"""The queries behind reports, each read page by page in the order of its keys.

A page is a transaction of its own, so that a slow reader of a long report holds nothing open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.reports.schemas import GroupBy
from billing.usage.tables import billing_records, usage_counters

PAGE: Final = 1_000
_PREFIXES: Final = {"user": "u:", "organization": "o:", "operation": "a:", "model": "m:"}
_RECORD: Final = (
    "event_id", "user_id", "organization_id", "session_id", "request_id",
    "product_id", "service_type", "feature_type", "operation", "model", "meter", "usage_amount",
    "included_amount", "charged_amount", "unit_price", "total_amount", "currency",
    "billing_method", "billing_status", "is_free_tier", "is_late",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """A query with the columns that order it: its first ones, and together unique.

    `prefixed` names the column whose values are owners of counters, such as `u:ann`.
    """

    query: Select[Any]
    keys: tuple[ColumnElement[Any], ...]
    prefixed: str | None = None

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self.query.selected_columns.keys())


def report(
    account_id: UUID, group_by: GroupBy, start: datetime, end: datetime, as_of: datetime
) -> Report:
    """Usage from `start` to before `end`; of single records those written up to `as_of`."""
    if group_by == "record":
        return _records(account_id, start, end, as_of)
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
    whose = (
        (counter.owner == "",)
        if prefix is None
        else (counter.owner >= prefix, counter.owner < f"{prefix[0]};")
    )
    query = (
        query.add_columns(
            func.sum(counter.quantity).label("quantity"),
            cast(func.sum(counter.events), BigInteger).label("events"),
            func.sum(counter.credits).label("credits"),
            func.sum(counter.overage).label("overage"),
            func.sum(counter.overage_total).label("overage_cost"),
        )
        .where(
            counter.account_id == account_id,
            *whose,
            counter.grain == "day",
            counter.bucket >= start,
            counter.bucket < end,
        )
        .group_by(*keys)
    )
    return Report(query, keys, group_by if prefix else None)


async def page(
    connection: AsyncConnection, asked: Report, after: Sequence[Any] | None
) -> Sequence[Any]:
    """The next rows after these key values, or the first ones."""
    query = asked.query.order_by(*asked.keys).limit(PAGE)
    if after is not None:
        mark = (literal(value, key.type) for value, key in zip(after, asked.keys, strict=True))
        query = query.where(tuple_(*asked.keys) > tuple_(*mark))
    rows: Sequence[Any] = (await connection.execute(query)).all()
    return rows


def _records(account_id: UUID, start: datetime, end: datetime, as_of: datetime) -> Report:
    record = billing_records.c
    shown = (record.occurred_at, record.id.label("billing_id"), *(record[n] for n in _RECORD))
    query = select(*shown).where(
        record.account_id == account_id,
        record.occurred_at >= start,
        record.occurred_at < end,
        record.created_at <= as_of,
    )
    return Report(query, (record.occurred_at, record.id))
