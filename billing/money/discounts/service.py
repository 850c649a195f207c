"""Redeems a coupon for one account, in the caller's transaction, under the account's lock [L1]."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.coupons import store as coupons
from billing.catalog.coupons.schemas import Coupon, LineKind
from billing.catalog.coupons.tables import coupons as coupon_rows
from billing.core.errors import Invalid
from billing.core.frozen import Frozen
from billing.core.periods import MICROSECOND
from billing.core.prepared import Prepared, given
from billing.money.discounts import store
from billing.money.discounts.schemas import IN_FORCE, Discount
from billing.money.discounts.tables import discounts
from billing.platform.accounts.schemas import Account

# What had paid an invoice that is void by now is on the money balance: it has bought nothing.
_HAS_PAID: Final = Prepared(
    text(
        "SELECT id FROM invoices WHERE account_id = :account_id AND status <> 'void'"
        " AND (amount_paid_minor > 0 OR balance_applied_minor > 0 AND status <> 'draft') LIMIT 1"
    )
)
# Pending redemptions count: of many purchases begun at once, only one is the first.
_HAS_FIRST: Final = Prepared(
    select(discounts.c.id)
    .join(coupon_rows, coupon_rows.c.id == discounts.c.coupon_id)
    .where(
        discounts.c.account_id == given("account_id"),
        discounts.c.status != "released",
        coupon_rows.c.first_purchase,
    )
    .limit(1)
)
_OF_A_PURCHASE: Final[frozenset[LineKind]] = frozenset({"pack"})
_OF_A_SUBSCRIPTION: Final[frozenset[LineKind]] = frozenset({"plan", "add_on", "usage"})


class Redeeming(Frozen):
    """The code, and the subscription or purchase it should reduce."""

    code: str
    product: str
    """Key of the plan or pack."""
    currency: str
    subscription_id: UUID | None = None
    purchase_id: UUID | None = None
    is_reserved: bool = True
    """True until the first payment is decided."""
    running_since: datetime | None = None
    """The beginning of the current period; None: no period yet."""
    use_since: datetime | None = None
    """The instant from which on cycles begin whose use it reduces; None: known later, or any."""

    def redeemed_at(self, at: datetime) -> datetime:
        """Return an instant after the period's beginning, even with a frozen clock."""
        return at if self.running_since is None else max(at, self.running_since + MICROSECOND)


async def redeem(
    connection: AsyncConnection,
    account: Account,
    wanted: Redeeming,
    discount_id: UUID,
    at: datetime,
) -> Discount:
    """Count a redemption; the caller writes the returned row. Errors: INVALID_COUPON, also as the
    transaction ends.
    """
    coupon = await coupons.find(connection, wanted.code)
    if coupon is None:
        raise _invalid("unknown", "no such coupon")
    judge = partial(_demand_open, wanted=wanted, account=account, at=at)
    judge(coupon)
    await _take(connection, coupon, account.id, wanted.subscription_id, judge)
    once = wanted.purchase_id is not None or coupon.duration == "once"
    return Discount(
        id=discount_id,
        account_id=account.id,
        coupon_id=coupon.id,
        subscription_id=wanted.subscription_id,
        purchase_id=wanted.purchase_id,
        code=coupon.code,
        percent=coupon.percent,
        amount_minor=coupon.amounts.get(wanted.currency),
        kinds=coupon.kinds,
        sold=coupon.sold,
        periods_left=1 if once else coupon.periods,
        status="reserved" if wanted.is_reserved else "active",
        use_since=wanted.use_since,
        created_at=wanted.redeemed_at(at),
    )


async def reserve_again(connection: AsyncConnection, purchase_id: UUID) -> None:
    """Reserve the released discount of a purchase again, if any, with the terms it had.

    Errors: INVALID_COUPON, also as the transaction ends.
    """
    released = await store.of_purchase(connection, purchase_id, "released")
    if released is None:
        return
    coupon = await coupons.find(connection, released.code)
    if coupon is None:
        raise _invalid("unknown", "no such coupon")
    await _take(connection, coupon, released.account_id, None)
    await store.change(connection, released.id, status="reserved", ended_at=None)


async def release(connection: AsyncConnection, purchase_id: UUID, at: datetime) -> None:
    """Release the reserved discount of a purchase, if any: somebody else may redeem it."""
    reserved = await store.of_purchase(connection, purchase_id, "reserved")
    if reserved is not None:
        await store.change(connection, reserved.id, status="released", ended_at=at)
        await coupons.count(connection, reserved.coupon_id, -1)


async def _take(
    connection: AsyncConnection,
    coupon: Coupon,
    account_id: UUID,
    subscription_id: UUID | None,
    judge: Callable[[Coupon], None] | None = None,
) -> None:
    """Count one redemption. The coupon is read without a lock, so it is judged once more as it is
    counted. Errors: INVALID_COUPON.
    """

    def judge_counted(counted: Coupon) -> None:
        if judge is not None:
            judge(counted)
        _demand_within_limit(counted)

    await _demand_unused(connection, coupon, account_id, subscription_id)
    _demand_within_limit(coupon.model_copy(update={"redeemed": coupon.redeemed + 1}))
    await coupons.count(connection, coupon.id, 1, judge_counted)


def _demand_within_limit(counted: Coupon) -> None:
    if counted.max_redemptions is not None and counted.redeemed > counted.max_redemptions:
        raise _invalid("used_up", "the coupon has reached its redemption limit")


def _demand_open(coupon: Coupon, wanted: Redeeming, account: Account, at: datetime) -> None:
    early = coupon.valid_from is not None and at < coupon.valid_from
    late = coupon.valid_until is not None and at >= coupon.valid_until
    if not coupon.is_active or late:
        raise _invalid("expired", "the coupon is no longer valid")
    if early:
        raise _invalid("not_yet", "the coupon is not valid yet")
    if (coupon.sold and wanted.product not in coupon.sold) or not _covers_any(coupon, wanted):
        raise _invalid("not_for_this", f"the coupon is not valid for {wanted.product}")
    if coupon.percent is None and wanted.currency not in coupon.amounts:
        raise _invalid("currency", f"the coupon has no amount in {wanted.currency}")
    if coupon.verified_as is not None and coupon.verified_as not in account.verified_as:
        raise _invalid(
            "not_verified", f"the coupon is for accounts verified as {coupon.verified_as}"
        )


def _covers_any(coupon: Coupon, wanted: Redeeming) -> bool:
    """True if the sale has lines that the coupon may reduce."""
    lines = _OF_A_PURCHASE if wanted.purchase_id is not None else _OF_A_SUBSCRIPTION
    return not coupon.kinds or not lines.isdisjoint(coupon.kinds)


async def _demand_unused(
    connection: AsyncConnection, coupon: Coupon, account_id: UUID, subscription_id: UUID | None
) -> None:
    """Raise INVALID_COUPON if this account redeemed it before; its lock keeps others out."""
    d = discounts.c
    mine = (d.account_id == account_id, d.coupon_id == coupon.id, d.status != "released")
    times = await connection.scalar(select(func.count()).where(*mine)) or 0
    if times >= coupon.max_per_account:
        raise _invalid("redeemed", "this account has already redeemed the coupon")
    if subscription_id is not None:
        same = select(func.count()).where(
            *mine, d.subscription_id == subscription_id, d.status.in_(IN_FORCE)
        )
        if await connection.scalar(same):
            raise _invalid("redeemed", "the subscription already has the coupon")
    if coupon.first_purchase:
        for taken in (_HAS_PAID, _HAS_FIRST):
            if await taken.first(connection, account_id=account_id):
                raise _invalid("not_first", "the coupon is for a first purchase")


def _invalid(reason: str, words: str) -> Invalid:
    return Invalid("INVALID_COUPON", words, reason=reason)


async def count(connection: AsyncConnection, *, coupon_id: UUID, by: int, **_: Any) -> None:
    """Correct the number of redemptions by `by`: the verb COUNT of decisions."""
    await coupons.count(connection, coupon_id, by)
