"""Coupons on a subscription: redeemed with its order or later, and removed [L1]."""

from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.coupons.schemas import capital
from billing.catalog.plans import store as catalog
from billing.core import ids
from billing.core.clock import now_by
from billing.core.errors import NotFound
from billing.ledger.credits import service as credits
from billing.matters.effects import Work
from billing.money.discounts import service as discount_service
from billing.money.discounts import store as discount_store
from billing.money.discounts.schemas import Discount
from billing.money.discounts.service import Redeeming
from billing.money.subscriptions import service, store
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands.running import wake
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.schemas import PlanWish, Subscription
from billing.money.subscriptions.states import demand


async def redeem(
    connection: AsyncConnection, subscription_id: UUID, code: str, discount_id: UUID
) -> Subscription:
    """Redeem a coupon: it reduces the invoices from the next period on, but no earlier use.

    Errors: SUBSCRIPTION_STATE, INVALID_COUPON.
    """
    found = await store.get(connection, subscription_id, lock=True)
    demand(found.status, "coupon")
    _, account = await credits.lock_with_account(connection, found.account_id)
    wanted = Redeeming(
        code=code,
        product=found.plan_key,
        currency=found.currency,
        subscription_id=found.id,
        is_reserved=False,
        running_since=found.current_period_start,
        use_since=found.current_period_end,
    )
    at = now_by(account.clock_at)
    discount = await discount_service.redeem(connection, account, wanted, discount_id, at)
    await discount_store.add(connection, discount)
    return await service.ask(connection, found.id, partial(_redeemed, code=discount.code))


async def redeem_for(connection: AsyncConnection, subscription_id: UUID, wish: PlanWish) -> None:
    """Reserve the coupon of a change that is requested next, in the same transaction.

    Errors: PLAN_NOT_FOUND, SUBSCRIPTION_STATE, INVALID_COUPON.
    """
    if wish.coupon is None:
        return
    found = await store.get(connection, subscription_id, lock=True)
    demand(found.status, "coupon")
    _, account = await credits.lock_with_account(connection, found.account_id)
    plan = await catalog.find_plan(connection, wish.plan) if wish.plan is not None else None
    if plan is None and wish.plan is not None:
        raise NotFound("PLAN_NOT_FOUND", "no such plan is on sale")
    wanted = Redeeming(
        code=wish.coupon,
        product=plan.key if plan is not None else found.plan_key,
        currency=found.currency,
        subscription_id=found.id,
        running_since=found.current_period_start,
    )
    at = now_by(account.clock_at)
    discount = await discount_service.redeem(connection, account, wanted, ids.new(), at)
    await discount_store.add(connection, discount)


def _redeemed(w: Work[SubscriptionFacts], code: str) -> Subscription:
    announce(w, subscription_of(w), "coupon_redeemed", code=code)
    return wake(w)


def remove(w: Work[SubscriptionFacts], code: str) -> Subscription:
    """Remove a coupon from later invoices; it stays redeemed. Errors: COUPON_NOT_FOUND."""
    demand(subscription_of(w).status, "coupon")
    running = (one for one in w.rows.of(Discount) if one.status == "active")
    found = next((one for one in running if one.code == capital(code)), None)
    if found is None:
        raise NotFound("COUPON_NOT_FOUND", "the subscription has no such coupon")
    w.change(found, status="ended", ended_at=w.facts.at)
    announce(w, subscription_of(w), "coupon_removed", code=found.code)
    return wake(w)
