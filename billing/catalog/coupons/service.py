"""Create and close coupons, with their audit rows."""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.coupons import store
from billing.catalog.coupons.schemas import Coupon, CouponSpec
from billing.core.clock import real_now
from billing.core.errors import Conflict, NotFound
from billing.platform.audit import service as audit


async def add(connection: AsyncConnection, spec: CouponSpec) -> Coupon:
    """Write a coupon. Errors: COUPON_EXISTS."""
    made = await store.add(connection, spec, real_now())
    if made is None:
        raise Conflict("COUPON_EXISTS", f"a coupon {spec.code} already exists")
    await _audit(connection, made, "coupon.created")
    return made


async def close(connection: AsyncConnection, code: str) -> Coupon:
    """Close a coupon to further redemptions. Errors: COUPON_NOT_FOUND."""
    closed = await store.close(connection, code)
    if closed is None:
        raise NotFound("COUPON_NOT_FOUND")
    await _audit(connection, closed, "coupon.closed")
    return closed


async def _audit(connection: AsyncConnection, coupon: Coupon, action: str) -> None:
    await audit.record(
        connection,
        account_id=None,
        action=action,
        subject=f"coupon {coupon.code}",
        at=real_now(),
    )
