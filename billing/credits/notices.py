"""Telling an account, once per lot, that credits end soon."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.money import show_decimal
from billing.credits.tables import credit_lots
from billing.events import service as events

EXPIRING: Final = "evt.billing.credits.expiring"


async def tell(
    connection: AsyncConnection, account_id: UUID, *, ahead: timedelta, at: datetime
) -> Decimal:
    """Tell of credits that end within `ahead` of `at`; how many they are.

    Lots that came with less time than that are not told of, and stale notices are left out. The
    account's lock is held.
    """
    lot = credit_lots.c
    due = await connection.execute(
        update(credit_lots)
        .where(
            lot.account_id == account_id,
            lot.is_open,
            lot.noticed_at.is_(None),
            lot.expires_at <= at + ahead,
            lot.expires_at > lot.created_at + ahead,
        )
        .values(noticed_at=at)
        .returning(lot.id, lot.kind, lot.expires_at, (lot.remaining - lot.held).label("free"))
    )
    ending = sorted((row for row in due if row.free and row.expires_at > at), key=_order)
    for row in ending:
        await events.publish(
            connection, account_id=account_id, type=EXPIRING, data=_facts(account_id, row), at=at
        )
    return sum((row.free for row in ending), Decimal(0))


def _facts(account_id: UUID, row: Row[Any]) -> dict[str, Any]:
    return {
        "account_id": ids.encode(ids.ACCOUNT, account_id),
        "lot_id": ids.encode(ids.LOT, row.id),
        "kind": row.kind,
        "credits": show_decimal(row.free),
        "expires_at": row.expires_at.isoformat(),
    }


def _order(row: Row[Any]) -> tuple[datetime, UUID]:
    return row.expires_at, row.id
