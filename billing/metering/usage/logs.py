"""The usage logs of an account: its uses, and captures of holds without a use [F4, G10]."""

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Select,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rating.schemas import BY_CREDITS, BY_PAID_CREDITS, CREDIT
from billing.core.money import ZERO
from billing.ledger.credits.tables import capture_logs
from billing.metering.usage import months, store, sums
from billing.metering.usage.tables import billing_records

METER: Final = "credits"
"""The meter shown for captures: they use credits."""
CAPTURE: Final = "capture"
"""The operation of a capture whose reason is not given, or not shown."""
MOST_NAMES: Final = 100
"""The maximum number of names in a sum: names are free text, and each use may add one."""

Span = tuple[datetime | None, datetime | None]
"""From the first instant, inclusive, to the second, exclusive; None: unbounded."""


async def uses(
    connection: AsyncConnection, account_id: UUID, span: Span, **wanted: str | None
) -> Select[Any]:
    """Select the uses with these column values (None: any), by (`occurred_at`, `id`).

    Only counters know on which days there were such operations, models and services.
    """
    days = await sums.days_of(
        connection,
        account_id,
        *span,
        operation=wanted.get("operation"),
        model=wanted.get("model"),
        service=wanted.get("service_type"),
    )
    query = store.on_days(store.records(account_id, **wanted, kind="usage"), days)
    return store.between(query, *span)


def captures(account_id: UUID, span: Span, **wanted: str | None) -> Select[Any]:
    """Select the captures with the columns of `uses`; `id` is the ledger entry's.

    A capture has no service, and its status is always completed.
    """
    log = capture_logs.c
    query = select(*_as_record()).where(log.account_id == account_id)
    for name, value in wanted.items():
        if value is not None and name in log:
            query = query.where(log[name] == value)
        elif value is not None and not (name == "billing_status" and value == "completed"):
            query = query.where(literal(False))
    start, end = span
    if start is not None:
        query = query.where(log.created_at >= start)
    return query if end is None else query.where(log.created_at < end)


async def others_behind(
    connection: AsyncConnection, account_id: UUID, user: str, entries: Collection[UUID]
) -> dict[UUID, bool]:
    """Return the ledger entries that paid uses or captures of other users, each with True if they
    also paid this user's. Captures without a known user do not count. Entries of an archived month
    count as other users'.
    """
    record, log = months.behind(entries).c, capture_logs.c
    made = union_all(
        select(record.transaction_id, record.user_id).where(record.account_id == account_id),
        select(log.transaction_id, log.user_id).where(
            log.account_id == account_id, log.transaction_id.in_(entries), log.user_id.is_not(None)
        ),
    ).subquery()
    own = func.coalesce(made.c.user_id == user, false())
    query = select(made.c.transaction_id, func.bool_or(own)).group_by(made.c.transaction_id)
    rows = await connection.execute(query.having(not_(func.bool_and(own))))
    behind = {entry: bool(is_shared) for entry, is_shared in rows}
    return dict.fromkeys(await months.unseen(connection, account_id, entries), False) | behind


def _as_record() -> list[ColumnElement[Any]]:
    """Return a capture's values in the columns of a record."""
    log = capture_logs.c
    zero, given = (
        literal(ZERO),
        {name: log[name] for name in ("user_id", "operation", "model")},
    )
    known: dict[str, ColumnElement[Any]] = given | {
        "id": log.transaction_id, "account_id": log.account_id, "meter": literal(METER),
        "transaction_id": log.transaction_id, "usage_amount": log.credits,
        "included_units": zero, "charged_units": log.credits, "unit_price": literal(Decimal(1)),
        "total_amount": log.credits, "currency": literal(CREDIT),
        "billing_method": case(
            (log.paid_only, BY_PAID_CREDITS), else_=BY_CREDITS
        ),
        "billing_status": literal("completed"), "is_free_tier": literal(False),
        "is_late": literal(False), "detail": log.detail, "kind": literal("capture"),
        **dict.fromkeys(
            ("period_start", "day_at", "occurred_at", "created_at", "updated_at"), log.created_at
        ),
    }  # fmt: skip
    return [
        known.get(column.name, cast(null(), column.type)).label(column.name)
        for column in billing_records.c
    ]


async def captured(
    connection: AsyncConnection, account_id: UUID, start: datetime, end: datetime
) -> tuple[int, Decimal]:
    """Return the number of captures between two instants, and their credits."""
    log = capture_logs.c
    query = select(func.count(), func.coalesce(func.sum(log.credits), 0))
    row = (await connection.execute(query.where(*_captured(account_id, start, end)))).one()
    return row[0], row[1]


def captured_by_day(
    account_id: UUID, zone: str, start: datetime, end: datetime
) -> Select[date, Any]:
    """Select the credits of captures between two instants by the zone's days."""
    log = capture_logs.c
    on = cast(func.timezone(zone, log.created_at), Date).label("on")
    query = select(on, func.sum(log.credits)).group_by(text("1"))
    return query.where(*_captured(account_id, start, end))


async def first_capture(connection: AsyncConnection, account_id: UUID) -> datetime | None:
    """Return the time of the account's first capture."""
    log = capture_logs.c
    query = select(func.min(log.created_at)).where(log.account_id == account_id)
    found: datetime | None = await connection.scalar(query)
    return found


def largest(
    account_id: UUID,
    by: Literal["operation", "model"],
    start: datetime,
    end: datetime,
    only: str | None,
) -> Select[Any]:
    """Select sums of uses and captures by operation or model: the `MOST_NAMES` largest by credits,
    then by quantity, and then one row without a name for all others.

    With `only`, captures of other users are under `CAPTURE`: their reasons are not this user's.
    """
    log = capture_logs.c
    words = sums.by_word(account_id, {"operation": "a:", "model": "m:"}[by], start, end)
    said: ColumnElement[Any] = log[by]
    if only is not None and by == "operation":
        said = case((log.user_id == only, log.operation), else_=CAPTURE)
    both = union_all(
        words,
        select(said, log.credits, literal(1), log.credits).where(
            log[by] != "", *_captured(account_id, start, end)
        ),
    ).subquery()
    summed = [func.sum(both.c[name]).label(name) for name in ("quantity", "events", "credits")]
    order = (func.sum(both.c.credits).desc(), func.sum(both.c.quantity).desc(), both.c.name)
    place = func.row_number().over(order_by=order).label("place")
    named = select(both.c.name, place, *summed).group_by(both.c.name).subquery()
    row = func.least(named.c.place, MOST_NAMES + 1)
    name = func.min(named.c.name).filter(named.c.place <= MOST_NAMES).label("name")
    totals = [func.sum(named.c[one.name]).label(one.name) for one in summed]
    return select(name, *totals).group_by(row).order_by(row)


def _captured(account_id: UUID, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    log = capture_logs.c
    return log.account_id == account_id, log.created_at >= start, log.created_at < end
