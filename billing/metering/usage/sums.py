"""Queries of sums of usage: counters by hour, day or word, and records where no counter tells."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rating.schemas import CREDIT
from billing.core import periods
from billing.metering.usage import levels, rules
from billing.metering.usage.tables import billing_records, usage_counters
from billing.platform.accounts.tables import accounts


def buckets(
    account_id: UUID,
    owner: str,
    grain: str,
    start: datetime,
    end: datetime,
    *,
    meters: Collection[str] | None = None,
    service: str | None = None,
) -> Select[Any]:
    """Select an owner's counters between two instants, one row per bucket and meter.

    Only days of the account itself know their `service`.
    """
    counter = usage_counters.c
    query = (
        select(
            *(counter.bucket, counter.meter),
            levels.quantity(counter.meter, counter.quantity, counter.maximum),
            *_sums("events", "credits"),
            func.max(counter.maximum).label("maximum"),
        )
        .where(of_owner(owner), *counted(account_id, grain, start, end))
        .group_by(counter.bucket, counter.meter)
        .order_by(counter.bucket.desc(), counter.meter)
    )
    if service is not None:
        query = query.where(_service(counter.facet) == service)
    return query if meters is None else query.where(counter.meter.in_(meters))


def buckets_of_records(
    account_id: UUID,
    owner: str,
    grain: Literal["hour", "day"],
    start: datetime,
    end: datetime,
    *,
    meters: Collection[str],
    service: str | None,
) -> Select[Any]:
    """As `buckets`, where no counters tell hours or services apart; it reads the records.

    As for the counters, an hour belongs to the range that it begins in.
    """
    if grain == "hour":
        start, end = (at + (periods.EPOCH - at) % rules.HOUR for at in (start, end))
    record = billing_records.c
    bucket = record.day_at if grain == "day" else func.date_trunc("hour", record.occurred_at)
    whose = {"u": record.user_id, "o": record.organization_id}.get(owner[:1])
    units = record.included_units + record.charged_units
    query = (
        select(
            bucket.label("bucket"), record.meter,
            levels.quantity(record.meter, units, record.usage_amount),
            func.count().label("events"),
            func.coalesce(func.sum(record.total_amount).filter(record.currency == CREDIT), 0)
            .label("credits"),
            func.max(record.usage_amount).label("maximum"),
        )
        .where(
            record.account_id == account_id, record.kind == "usage", record.meter.in_(meters),
            record.occurred_at >= start, record.occurred_at < end,
            *(() if service is None else (record.service_type == service,)),
        )
        .group_by(text("1"), record.meter)
    )  # fmt: skip
    return query if whose is None else query.where(whose == owner[2:])


async def services_of(
    connection: AsyncConnection, account_id: UUID, start: datetime, end: datetime
) -> dict[str, set[str]]:
    """Return by meter the services whose uses it counted on those days; '': without a service."""
    counter = usage_counters.c
    rows = await connection.execute(
        select(counter.meter, _service(counter.facet))
        .distinct()
        .where(of_owner(""), *counted(account_id, "day", start, end))
    )
    found: dict[str, set[str]] = {}
    for meter, service in rows:
        found.setdefault(meter, set()).add(service)
    return found


def counted(
    account_id: UUID | None, grain: str, start: datetime, end: datetime
) -> tuple[ColumnElement[bool], ...]:
    """Match counters of one grain between two instants, of any owner; without an account, those of
    every account that is not a test. A day belongs to the range that its middle is in.
    """
    counter = usage_counters.c
    half = rules.HALF_A_DAY * (grain == "day")
    real = select(accounts.c.id).where(~accounts.c.is_test)
    return (
        counter.account_id.in_(real) if account_id is None else counter.account_id == account_id,
        counter.grain == grain,
        counter.bucket >= start - half,
        counter.bucket < end - half,
    )


def _sums(*names: str) -> list[ColumnElement[Any]]:
    return [func.sum(usage_counters.c[name]).label(name) for name in names]


def _service(facet: ColumnElement[str]) -> ColumnElement[str]:
    return func.split_part(facet, "|", 1)


async def has_more_accounts(connection: AsyncConnection, most: int) -> bool:
    """Return True if there are more accounts than this, without tests."""
    one_more = select(accounts.c.id).where(~accounts.c.is_test).offset(most).limit(1)
    return await connection.scalar(one_more) is not None


async def days_of(
    connection: AsyncConnection,
    account_id: UUID,
    start: datetime | None,
    end: datetime | None,
    *,
    operation: str | None,
    model: str | None,
    service: str | None,
) -> list[datetime] | None:
    """Return the days that have uses with all these words, oldest first; None without a word.

    Between two instants, if they are given: those of the uses between them, and a day beside. A day
    is its first instant in the account's zone, as in `billing_records.day_at`.
    """
    counter = usage_counters.c
    words = [
        *([of_owner(f"a:{operation}")] if operation is not None else []),
        *([of_owner(f"m:{model}")] if model is not None else []),
        *([and_(of_owner(""), _service(counter.facet) == service)] if service is not None else []),
    ]
    own = select(counter.bucket).where(counter.account_id == account_id, counter.grain == "day")
    if start is not None:
        own = own.where(counter.bucket > start - 2 * rules.BESIDE)
    if end is not None:
        own = own.where(counter.bucket < end + rules.BESIDE)
    found = [set(await connection.scalars(own.where(word).distinct())) for word in words]
    return sorted(set.intersection(*found)) if found else None


async def first_day(connection: AsyncConnection, account_id: UUID) -> datetime | None:
    """Return the first day with usage of the account."""
    counter = usage_counters.c
    found: datetime | None = await connection.scalar(
        select(counter.bucket)
        .where(counter.account_id == account_id, of_owner(""), counter.grain == "day")
        .order_by(counter.period_start, counter.bucket)
        .limit(1)
    )
    return found


def by_word(account_id: UUID, prefix: str, start: datetime, end: datetime) -> Select[Any]:
    """Select sums over days by operation (`a:`) or model (`m:`), a row for each of its meters."""
    counter = usage_counters.c
    name = func.substr(counter.owner, len(prefix) + 1).label("name")
    quantity = levels.quantity(counter.meter, counter.quantity, counter.maximum)
    return (
        select(name, quantity, *_sums("events", "credits"))
        .where(of_kind(prefix), *counted(account_id, "day", start, end))
        .group_by(counter.owner, counter.meter)
    )


def names(account_id: UUID | None, prefix: str, start: datetime, end: datetime) -> Select[Any]:
    """Select the number of users (`u:`) or organisations (`o:`) with usage."""
    found = (
        select(usage_counters.c.account_id, usage_counters.c.owner)
        .distinct()
        .where(of_kind(prefix), *counted(account_id, "day", start, end))
    )
    return select(func.count()).select_from(found.subquery())


def of_owner(owner: str) -> ColumnElement[bool]:
    """Match the counters of one owner; `""` is the account itself.

    The value is a query of its own, because the planner takes accounts and owners for independent:
    with the value it expects most rows of an account with many users to be the account's own, and
    reads the whole table.
    """
    return usage_counters.c.owner == select(literal(owner)).scalar_subquery()


def of_kind(prefix: str) -> ColumnElement[bool]:
    """Match the counters of one kind of owner, such as `u:` for users.

    No range of texts: what lies between two texts depends on the locale of the database.
    """
    return func.starts_with(usage_counters.c.owner, prefix)


def by_facet(account_id: UUID | None, start: datetime, end: datetime) -> Select[Any]:
    """Select sums over days by service, method, status and currency."""
    counter = usage_counters.c
    return (
        select(counter.facet, *_sums("events", "quantity", "credits", "overage_total"))
        .where(of_owner(""), *counted(account_id, "day", start, end))
        .group_by(counter.facet)
    )
