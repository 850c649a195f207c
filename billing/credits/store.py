"""Every query on credits that only reads: balances as of an instant, the ledger, lots.

Reads never settle: what has lapsed by the asked instant is taken off in the answer.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.credits.schemas import Balance
from billing.credits.tables import credit_balances, credit_hold_lots, credit_holds, credit_lots


async def balance_at(connection: AsyncConnection, account_id: UUID, at: datetime) -> Balance | None:
    """The balance at `at`, without what has lapsed by then and may still be in the rows."""
    rows = await connection.execute(
        select(credit_balances).where(credit_balances.c.account_id == account_id)
    )
    row = rows.mappings().one_or_none()
    if row is None:
        return None
    balance = Balance.model_validate(dict(row))
    if balance.next_expiry is None or balance.next_expiry > at:
        return balance
    gone, held, next_expiry = await _unsettled(connection, account_id, at)
    return balance.model_copy(
        update={"balance": balance.balance - gone, "held": held, "next_expiry": next_expiry}
    )


async def _unsettled(
    connection: AsyncConnection, account_id: UUID, at: datetime
) -> tuple[Decimal, Decimal, datetime | None]:
    """(credits gone by `at` though still in the rows, credits still held, next expiry)."""
    live = (
        select(
            credit_hold_lots.c.lot_id,
            func.sum(credit_hold_lots.c.amount).label("amount"),
            func.min(credit_holds.c.expires_at).label("expires_at"),
        )
        .join(credit_holds, credit_holds.c.id == credit_hold_lots.c.hold_id)
        .where(
            credit_holds.c.account_id == account_id,
            credit_holds.c.status == "open",
            credit_holds.c.expires_at > at,
        )
        .group_by(credit_hold_lots.c.lot_id)
        .subquery("live")
    )
    lot = credit_lots.c
    held = func.coalesce(live.c.amount, 0)
    gone = case(
        (lot.expires_at <= at, lot.remaining - held),
        else_=func.least(lot.claimed, lot.held - held),
    )
    row = (
        await connection.execute(
            select(
                func.coalesce(func.sum(gone), 0),
                func.coalesce(func.sum(held), 0),
                func.least(
                    func.min(lot.expires_at).filter(lot.expires_at > at),
                    func.min(live.c.expires_at),
                ),
            )
            .select_from(credit_lots.outerjoin(live, live.c.lot_id == lot.id))
            .where(lot.account_id == account_id, lot.is_open)
        )
    ).one()
    return row[0], row[1], row[2]
