"""Adjustments by operators: credits given or taken with a reason, and the overdraft limit [F23].

Each is audited and announced in the transaction of the change.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.core.errors import Invalid
from billing.core.money import ZERO, show_decimal
from billing.ledger.credits import rules, service, store
from billing.ledger.credits.schemas import Adjustment, Balance, Grant, Taken
from billing.matters.effects import Announce
from billing.platform.audit import service as audit
from billing.platform.outbox import service as outbox


async def adjust(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    adjustment_id: UUID,
    amount: Decimal,
    reason: str,
    at: datetime,
    scope: str | None = None,
    expires_at: datetime | None = None,
    priority: int | None = None,
    is_paid: bool = False,
) -> Adjustment:
    """Give `amount` credits, or take them if it is negative; once per `adjustment_id`.

    Errors: INSUFFICIENT_CREDITS when less can be taken; BALANCE_TOO_LARGE when more is given than
    an account can have; INVALID_EXPIRY; INVALID_AMOUNT; NOT_FOUND.
    """
    key = keys.adjustment(adjustment_id)
    facts: dict[str, Any] = {
        "account_id": account_id, "key": key, "reason": reason,
        "at": at, "scope": scope, "subject": ids.encode(ids.ADJUSTMENT, adjustment_id),
    }  # fmt: skip
    done: Grant | Taken
    if amount > 0:
        if not await store.is_granted(connection, account_id, key):
            await _demand_givable(connection, account_id, amount, expires_at, at)
        done = await service.grant(
            connection, amount=amount, kind="adjustment", is_paid=is_paid, expires_at=expires_at,
            priority=priority, **facts,
        )  # fmt: skip
    else:
        done = await service.take(connection, amount=-amount, **facts)
    adjustment = Adjustment(
        adjustment_id=adjustment_id,
        account_id=account_id,
        transaction_id=done.transaction_id,
        amount=amount,
        debt_paid=done.debt_paid if isinstance(done, Grant) else ZERO,
        balance=done.balance,
        reason=reason,
    )
    if not done.replayed:
        await _announce(connection, adjustment, scope, at)
    return adjustment


async def _demand_givable(
    connection: AsyncConnection,
    account_id: UUID,
    amount: Decimal,
    expires_at: datetime | None,
    at: datetime,
) -> None:
    """Refuse credits that are to end before now, and more than an account can have."""
    if expires_at is not None and expires_at <= at:
        raise Invalid("INVALID_EXPIRY", "credits must expire after the account's current time")
    before = await service.lock(connection, account_id)
    if before.balance + before.used + amount > rules.MOST_EVER:
        raise Invalid("BALANCE_TOO_LARGE")


async def allow_overdraft(
    connection: AsyncConnection,
    account_id: UUID,
    overdraft: Decimal,
    *,
    reason: str,
    at: datetime,
) -> Balance:
    """Set the overdraft limit; return the earlier balance. Errors: INVALID_AMOUNT."""
    before = await service.set_overdraft(connection, account_id, overdraft)
    if before.overdraft != overdraft:
        await audit.record(
            connection,
            account_id=account_id,
            action="credits.overdraft_set",
            subject=ids.encode(ids.ACCOUNT, account_id),
            at=at,
            overdraft=show_decimal(overdraft),
            before=show_decimal(before.overdraft),
            reason=reason,
        )
    return before


async def _announce(
    connection: AsyncConnection, done: Adjustment, scope: str | None, at: datetime
) -> None:
    subject = ids.encode(ids.ADJUSTMENT, done.adjustment_id)
    facts = {
        "adjustment_id": subject,
        "credits": show_decimal(done.amount),
        "balance": show_decimal(done.balance),
        "reason": done.reason,
        "scope": scope,
    }
    event = Announce(done.account_id, "credits.adjusted", subject, facts)
    await outbox.announce(connection, event, at)
