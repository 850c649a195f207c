"""Queries on discounts."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import row_writes
from billing.core.prepared import Prepared, given
from billing.matters.agenda import EARLY
from billing.money.discounts.schemas import IN_FORCE, Discount, DiscountStatus
from billing.money.discounts.tables import discounts

ROW: Final = "to_jsonb(x) || jsonb_build_object('percent', x.percent::text)"
"""A discount for the rows of a decision; its alias is `x`."""
OF_PERIOD: Final = f"""(x.status IN {IN_FORCE}
    OR x.status = 'ended' AND x.ended_at >= s.current_period_start - {EARLY})"""
"""True if it is in force, or ended within the current period of the subscription `s`."""
_IN_FORCE: Final = Prepared(
    select(discounts)
    .where(
        discounts.c.subscription_id == given("subscription_id"),
        discounts.c.status.in_(IN_FORCE),
    )
    .order_by(discounts.c.created_at, discounts.c.id)
)
_OF_PURCHASE: Final = Prepared(
    select(discounts).where(
        discounts.c.purchase_id == given("purchase_id"), discounts.c.status == given("in_status")
    )
)


async def add(connection: AsyncConnection, discount: Discount) -> None:
    """Insert a redeemed discount."""
    await row_writes.add(connection, discounts, discount.model_dump(mode="python"))


async def of_subscription(connection: AsyncConnection, subscription_id: UUID) -> list[Discount]:
    """Return the discounts of its next invoices, oldest first."""
    rows = await _IN_FORCE.all(connection, subscription_id=subscription_id)
    return [Discount.model_validate(row) for row in rows]


async def of_purchase(
    connection: AsyncConnection, purchase_id: UUID, status: DiscountStatus
) -> Discount | None:
    """Return the discount of a purchase if it has this status."""
    row = await _OF_PURCHASE.first(connection, purchase_id=purchase_id, in_status=status)
    return Discount.model_validate(dict(row)) if row else None


async def change(connection: AsyncConnection, discount_id: UUID, **fields: Any) -> None:
    """Overwrite fields of one discount."""
    await row_writes.change(connection, discounts, discount_id, **fields)
