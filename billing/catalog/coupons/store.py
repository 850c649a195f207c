"""Queries on coupons; redemptions are counted behind all else, because others wait for the row."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.coupons.schemas import Coupon, CouponSpec, capital
from billing.catalog.coupons.tables import coupons
from billing.core import ids
from billing.core.prepared import Fields, Prepared, given
from billing.core.with_commit import shared_rows

_FIND: Final = Prepared(select(coupons).where(coupons.c.code == given("of_code")))
_COUNT: Final = Prepared(
    update(coupons)
    .where(coupons.c.id == given("coupon_id"))
    .values(redeemed=coupons.c.redeemed + given("by"))
    .returning(coupons)
)


class _Count(NamedTuple):
    coupon_id: UUID
    by: int
    judge: Callable[[Coupon], None] | None


async def find(connection: AsyncConnection, code: str) -> Coupon | None:
    """Return the coupon with this code, in any letter case, with what this transaction counts."""
    row = await _FIND.first(connection, of_code=capital(code))
    if row is None:
        return None
    coupon = show(row)
    waiting = (shared_rows(connection) or {}).get(_write, [])
    own = sum(one.by for one in waiting if one.coupon_id == coupon.id)
    return coupon.model_copy(update={"redeemed": coupon.redeemed + own})


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


async def count(
    connection: AsyncConnection,
    coupon_id: UUID,
    by: int,
    judge: Callable[[Coupon], None] | None = None,
) -> None:
    """Count a redemption (1), or a released one (-1), at the end of the transaction. A `judge`
    refuses it by the coupon as it is then, under its lock and with the redemption counted.
    """
    one, waiting = _Count(coupon_id, by, judge), shared_rows(connection)
    if waiting is None:
        await _write(connection, [one])
    else:
        waiting.setdefault(_write, []).append(one)


async def _write(connection: AsyncConnection, counts: Sequence[_Count]) -> None:
    """Count per coupon, in the common order of locking coupons."""
    by_coupon: dict[UUID, list[_Count]] = defaultdict(list)
    for one in counts:
        by_coupon[one.coupon_id].append(one)
    for coupon_id, of in sorted(by_coupon.items()):
        counted = show(
            await _COUNT.one(connection, coupon_id=coupon_id, by=sum(one.by for one in of))
        )
        for one in of:
            if one.judge is not None:
                one.judge(counted)


def listing(*, active_only: bool = False) -> Select[Any]:
    """Select all coupons; the caller adds order and limit."""
    return select(coupons).where(coupons.c.is_active) if active_only else select(coupons)


def show(row: Fields) -> Coupon:
    """Return a row as a coupon."""
    return Coupon.model_validate(dict(row))
