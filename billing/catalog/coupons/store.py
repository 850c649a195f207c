"""Queries on coupons; one statement checks and counts a redemption."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.coupons.schemas import Coupon, CouponSpec, capital
from billing.catalog.coupons.tables import coupons
from billing.core import ids
from billing.core.prepared import Fields, Prepared, given

_LOCK: Final = Prepared(
    select(coupons).where(coupons.c.code == given("of_code")).with_for_update(key_share=True)
)
_COUNT: Final = Prepared(
    update(coupons)
    .where(
        coupons.c.id == given("coupon_id"),
        or_(coupons.c.max_redemptions.is_(None), coupons.c.redeemed < coupons.c.max_redemptions),
    )
    .values(redeemed=coupons.c.redeemed + 1)
)
_COUNT_BY: Final = Prepared(
    update(coupons)
    .where(coupons.c.id == given("coupon_id"))
    .values(redeemed=coupons.c.redeemed + given("by"))
)


async def lock(connection: AsyncConnection, code: str) -> Coupon | None:
    """Return the coupon with this code, in any letter case, locked until the transaction ends."""
    row = await _LOCK.first(connection, of_code=capital(code))
    return show(row) if row else None


async def add(connection: AsyncConnection, spec: CouponSpec, at: datetime) -> Coupon | None:
    """Write a coupon; None if its code is taken."""
    made = (
        insert(coupons)
        .values(
            **spec.model_dump(exclude={"kinds", "sold"}),
            kinds=list(spec.kinds),
            sold=list(spec.sold),
            id=ids.new(),
            created_at=at,
        )
        .on_conflict_do_nothing(index_elements=["code"])
        .returning(coupons)
    )
    row = (await connection.execute(made)).mappings().one_or_none()
    return show(row) if row else None


async def close(connection: AsyncConnection, code: str) -> Coupon | None:
    """Close a coupon to further redemptions."""
    closed = update(coupons).where(coupons.c.code == capital(code)).values(is_active=False)
    row = (await connection.execute(closed.returning(coupons))).mappings().one_or_none()
    return show(row) if row else None


async def take(connection: AsyncConnection, coupon_id: UUID) -> bool:
    """Count one redemption if any is left."""
    return await _COUNT.run(connection, coupon_id=coupon_id) == 1


async def count(connection: AsyncConnection, coupon_id: UUID, by: int) -> None:
    """Count a released redemption (-1), or one that is in use again (1)."""
    await _COUNT_BY.run(connection, coupon_id=coupon_id, by=by)


def listing(*, active_only: bool = False) -> Select[Any]:
    """Select all coupons; the caller adds order and limit."""
    return select(coupons).where(coupons.c.is_active) if active_only else select(coupons)


def show(row: Fields) -> Coupon:
    """Return a row as a coupon."""
    return Coupon.model_validate(dict(row))
