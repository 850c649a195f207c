"""The queries that only recommendations need."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.insight.recommendations import rules
from billing.insight.recommendations.schemas import Lot
from billing.ledger.credits.tables import credit_lots
from billing.metering.usage.schemas import Period
from billing.metering.usage.tables import usage_periods
from billing.money.subscriptions.schemas import Subscription


async def closed_cycles(connection: AsyncConnection, subscription: Subscription) -> list[Period]:
    """Return the subscription's last closed cycles that its plan was paid for.

    A trial was free, and time that was unpaid or paused is not charged in full.
    """
    period, begun = usage_periods.c, subscription.trial_end or subscription.created_at
    rows = await connection.execute(
        select(usage_periods)
        .where(
            period.account_id == subscription.account_id,
            period.subscription_id == subscription.id,
            period.closed_at.is_not(None),
            period.no_entitlement.is_(None),
            period.start_at >= begun,
        )
        .order_by(period.start_at.desc())
        .limit(rules.CYCLES)
    )
    return [Period.model_validate(dict(row)) for row in rows.mappings()]


async def lots(connection: AsyncConnection, account_id: UUID) -> list[Lot]:
    """Return the account's open lots that expire, with the credits not on hold.

    Lots of one scope are left out: the daily use covers all credits, not those of a scope.
    """
    lot = credit_lots.c
    rows = await connection.execute(
        select(lot.id, lot.remaining - lot.held, lot.expires_at).where(
            lot.account_id == account_id, lot.is_open, lot.expires_at.is_not(None),
            lot.remaining > lot.held, lot.scope.is_(None),
        )
    )  # fmt: skip
    return [Lot(ids.encode(ids.LOT, row[0]), row[1], row[2]) for row in rows]
