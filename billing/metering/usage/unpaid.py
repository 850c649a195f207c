"""Unpaid uses, deferred or failed: pay them with new credits, and notify after a week.

Each verb runs in the caller's transaction, under the account's lock (docs/rules/usage.md).
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.money import show_decimal
from billing.core.prepared import Prepared
from billing.matters import store as matters
from billing.matters.effects import Announce
from billing.matters.schemas import Matter
from billing.metering.usage import rules
from billing.platform.outbox import service as outbox

PART: Final = 200
"""The number of uses that one step pays."""
LOOKED_AT: Final = 5_000
"""The number of uses that one step looks at."""
_SETTLE: Final = Prepared(
    text("SELECT record_id, method FROM usage_settle(:account_id, :at, :most, :looked_at)")
)
_TELL: Final = Prepared(
    text(
        """
    WITH told AS (
        UPDATE unpaid_uses SET told_at = :at
        WHERE account_id = :account_id AND told_at IS NULL AND overdue_at <= :at
        RETURNING record_id
    )
    SELECT r.currency, count(*) AS uses, sum(r.total_amount) AS total, min(r.occurred_at) AS since
    FROM told JOIN billing_records r
        ON r.id = told.record_id AND r.month = ANY (usage_record_months(told.record_id))
    GROUP BY r.currency ORDER BY r.currency
    """
    )
)
_TRIED: Final = Prepared(
    text(
        "UPDATE unpaid_uses SET charge_at = NULL, tries = tries + 1,"
        " tried_at = CASE WHEN :asked THEN CAST(:at AS timestamptz) ELSE tried_at END"
        " WHERE record_id = :record_id"
    )
)
_WAIT: Final = Prepared(
    text(
        "UPDATE unpaid_uses SET charge_at = :until, tries = tries + 1 WHERE record_id = :record_id"
    )
)
_NO_CARD: Final = Prepared(
    text(
        "UPDATE unpaid_uses SET charge_at = NULL, tries = tries + 1"
        " WHERE account_id = :account_id AND charge_at <= :at"
    )
)
_ANOTHER_CARD: Final = Prepared(
    text(
        """
    WITH known AS (
        UPDATE unpaid_uses SET tried_at = NULL,
            charge_at = CASE WHEN told_at IS NOT NULL THEN CAST(:at AS timestamptz)
                ELSE charge_at END
        WHERE account_id = :account_id
        RETURNING told_at
    )
    SELECT count(*) FROM known WHERE told_at IS NOT NULL
    """
    )
)


async def pay(connection: AsyncConnection, account_id: UUID, at: datetime) -> int:
    """Pay the oldest uses with available credits, with an event for each; return how many."""
    paid = await _SETTLE.all(
        connection, account_id=account_id, at=at, most=PART, looked_at=LOOKED_AT
    )
    action = rules.STATUS_ACTIONS["completed"]
    for row in paid:
        facts = rules.status_facts(row["record_id"], row["method"], "completed")
        subject = ids.encode(ids.BILLING_RECORD, row["record_id"])
        await outbox.announce(connection, Announce(account_id, action, subject, facts), at)
    return len(paid)


async def notify(connection: AsyncConnection, account_id: UUID, at: datetime) -> int:
    """Notify once of uses unpaid for a week, by currency; return how many."""
    subject, count = ids.encode(ids.ACCOUNT, account_id), 0
    for row in await _TELL.all(connection, account_id=account_id, at=at):
        facts = {
            "uses": row["uses"],
            "total": show_decimal(row["total"]),
            "currency": row["currency"],
            "since": row["since"].isoformat(),
        }
        await outbox.announce(connection, Announce(account_id, "usage.unpaid", subject, facts), at)
        count += row["uses"]
    return count


async def tried(connection: AsyncConnection, record_id: UUID, at: datetime, *, asked: bool) -> None:
    """Note a card attempt (`asked`) or that none was possible; a retry needs another card."""
    await _TRIED.send(connection, record_id=record_id, at=at, asked=asked)


async def wait(connection: AsyncConnection, record_id: UUID, until: datetime) -> None:
    """Try the use again then: a card is being charged for it, and may fail to pay it."""
    await _WAIT.send(connection, record_id=record_id, until=until)


async def no_card(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """Record that the account has no card for its unpaid uses."""
    await _NO_CARD.send(connection, account_id=account_id, at=at)


async def another_card(connection: AsyncConnection, account_id: UUID, at: datetime) -> list[Matter]:
    """Schedule a new card for the uses that the customer was notified of.

    Returns the matter to wake after the commit.
    """
    if not await _ANOTHER_CARD.scalar(connection, account_id=account_id, at=at):
        return []
    return [await matters.ensure_account(connection, account_id, due=at, at=at)]
