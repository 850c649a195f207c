"""Queries on budgets."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.metering.budgets.schemas import Budget, NewBudget
from billing.metering.budgets.tables import budgets
from billing.metering.usage.schemas import Period

_STANDING: Final = text(
    """
    SELECT b.*, w.begins AS window_start,
        CASE b.window_kind WHEN 'cycle' THEN :period_end ELSE w.ends END AS window_end,
        s.used + budget_captured(b, w.begins, w.ends) AS used
    FROM budgets AS b
    CROSS JOIN LATERAL budget_window(b.window_kind, :zone, :period_start, :at) AS w
    CROSS JOIN LATERAL budget_spent(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) AS s
    WHERE b.account_id = :account_id AND (CAST(:id AS uuid) IS NULL OR b.id = :id)
    ORDER BY b.created_at DESC, b.id DESC
    """
)
_NOTIFY: Final = text("SELECT budget_notify(:account_id, :zone, :period_start, :at)")
_MAY_BLOCK: Final = text(
    "SELECT budget_mode = 'block' FROM credit_balances WHERE account_id = :account_id"
)
# The flag that the record function reads together with the open period.
_MARK: Final = text(
    """
    UPDATE credit_balances SET budget_mode = (
        SELECT CASE WHEN bool_or(is_blocking) THEN 'block' WHEN count(*) > 0 THEN 'notify' END
        FROM budgets WHERE account_id = :account_id)
    WHERE account_id = :account_id
    """
)


async def standing(
    connection: AsyncConnection,
    account_id: UUID,
    period: Period,
    at: datetime,
    budget_id: UUID | None = None,
) -> list[Budget]:
    """Return an account's budgets, or one, with their use at an instant, newest first."""
    values = {
        "account_id": account_id, "zone": period.zone, "period_start": period.start_at,
        "period_end": period.end_at, "at": at, "id": budget_id,
    }  # fmt: skip
    rows: Sequence[Any] = (await connection.execute(_STANDING, values)).mappings().all()
    return [Budget.model_validate(dict(row)) for row in rows]


async def put(
    connection: AsyncConnection, account_id: UUID, wanted: NewBudget, at: datetime
) -> UUID:
    """Write a budget, or update the one with the same key; return its id."""
    terms = {
        "limit_amount": wanted.limit, "alert_percents": list(wanted.alert_percents),
        "updated_at": at,
    }  # fmt: skip
    written = await connection.execute(
        insert(budgets)
        .values(
            id=ids.new(),
            account_id=account_id,
            measure=wanted.measure,
            meter=wanted.meter,
            window_kind=wanted.window,
            is_blocking=wanted.then == "block",
            created_at=at,
            **terms,
        )
        .on_conflict_do_update(
            index_elements=["account_id", "measure", "meter", "window_kind", "is_blocking"],
            set_=terms,
        )
        .returning(budgets.c.id)
    )
    made: UUID = written.scalar_one()
    return made


async def remove(connection: AsyncConnection, account_id: UUID, budget_id: UUID) -> None:
    """Remove a budget."""
    await connection.execute(
        delete(budgets).where(budgets.c.account_id == account_id, budgets.c.id == budget_id)
    )


async def count(connection: AsyncConnection, account_id: UUID) -> int:
    """Return the number of budgets of an account."""
    query = select(func.count()).where(budgets.c.account_id == account_id)
    return int(await connection.scalar(query) or 0)


async def mark(connection: AsyncConnection, account_id: UUID) -> None:
    """Update the flag that tells the record function to check budgets. Needs the account's lock."""
    await connection.execute(_MARK, {"account_id": account_id})


async def may_block(connection: AsyncConnection, account_id: UUID) -> bool:
    """True if some budget of the account blocks."""
    return bool(await connection.scalar(_MAY_BLOCK, {"account_id": account_id}))


async def notify(
    connection: AsyncConnection, account_id: UUID, zone: str, period_start: datetime, at: datetime
) -> None:
    """Notify of thresholds already reached. Needs the account's lock."""
    await connection.execute(
        _NOTIFY,
        {"account_id": account_id, "zone": zone, "period_start": period_start, "at": at},
    )
