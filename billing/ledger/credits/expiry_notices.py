"""Notices to an account, once per lot, that credits end soon."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.money import ZERO, show_decimal
from billing.ledger.credits import store
from billing.platform.outbox import service as outbox
from billing.platform.outbox.kinds import PREFIX

EXPIRING: Final = f"{PREFIX}credits.expiring"


async def notify(
    connection: AsyncConnection, account_id: UUID, *, ahead: timedelta, at: datetime
) -> Decimal:
    """Announce credits that end within `ahead` of `at`, held ones too; return how many they are.

    Lots that came with less time than that, and lots that have ended, are left out. The caller
    holds the account's lock.
    """
    due = await store.mark_noticed(connection, account_id, ahead=ahead, at=at)
    ending = sorted(
        (row for row in due if row.ending and row.expires_at > at),
        key=lambda row: (row.expires_at, row.id),
    )
    for row in ending:
        await outbox.publish(
            connection, account_id=account_id, type=EXPIRING, data=_facts(account_id, row), at=at
        )
    return sum((row.ending for row in ending), ZERO)


def _facts(account_id: UUID, row: Row[Any]) -> dict[str, Any]:
    return {
        "account_id": ids.encode(ids.ACCOUNT, account_id),
        "lot_id": ids.encode(ids.LOT, row.id),
        "kind": row.kind,
        "credits": show_decimal(row.ending),
        "expires_at": row.expires_at.isoformat(),
    }
