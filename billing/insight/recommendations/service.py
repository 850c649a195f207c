"""Advice for one account, from its closed cycles, its lots and the catalog; writes nothing."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as plans
from billing.catalog.plans.rules import SERVED_AND_BILLED
from billing.insight.forecasts import service as forecasts
from billing.insight.recommendations import offers, rules, store
from billing.insight.recommendations.schemas import CheaperPlan, CreditsExpiring
from billing.metering.limit_overrides import store as limits
from billing.metering.usage import store as usage_store
from billing.metering.usage.schemas import Counter, Period
from billing.money.contracts import store as contract_store
from billing.money.discounts import store as discount_store
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.periods.items import ADD_ON, PLAN
from billing.money.subscriptions.schemas import Subscription


async def advice(
    connection: AsyncConnection, account_id: UUID
) -> tuple[list[CheaperPlan | CreditsExpiring], datetime]:
    """Return all recommendations, and the account's now [Q2]."""
    outlook = await forecasts.outlook(connection, account_id)
    found: list[CheaperPlan | CreditsExpiring] = []
    subscription = await subscriptions.find_open(connection, account_id)
    if subscription is not None and subscription.status in SERVED_AND_BILLED:
        plan = await _cheaper_plan(connection, subscription, outlook.at)
        found += [plan] if plan else []
    lots = await store.lots(connection, account_id)
    if outlook.daily_credits is not None:
        found += rules.expiring(lots, outlook.daily_credits, outlook.at)
    return found, outlook.at


async def _cheaper_plan(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> CheaperPlan | None:
    """Return a cheaper plan of the same family, currency and interval, for the current seats.

    None if a cycle is not the plan's interval, or with add-ons, a coupon or a commitment: another
    plan may sell other add-ons or none, the coupon may not apply to it, and what is saved would be
    charged at the commitment's end.
    """
    current = await plans.get_plan(connection, subscription.plan_id)
    if current.allowance != subscription.interval:
        return None
    if subscription.commitment is not None:
        return None
    items = await subscriptions.items(connection, subscription.id)
    if any(one.kind == ADD_ON for one in items):
        return None
    if await discount_store.of_subscription(connection, subscription.id):
        return None
    quantity = next((one.quantity for one in items if one.kind == PLAN), 1)
    agreed = await limits.holding(connection, subscription.account_id, at)
    contract = await contract_store.in_force(connection, subscription.account_id, at)
    currency, interval = subscription.currency, subscription.interval
    others = []
    for plan in await plans.current_plans(connection, active_only=True):
        if plan.family != current.family or plan.key == current.key:
            continue
        agreed_price = contract and contract.terms.price_of(plan.key, interval, currency)
        price = agreed_price or await plans.plan_price(connection, plan.key, currency, interval)
        if price is None or plan.allowance != current.allowance:
            continue
        each = offers.Cost(price.amount_minor, price.minimum_minor)
        offer = offers.other(plan, quantity, each, agreed, currency)
        others += [offer] if offer else []
    paid = offers.Cost(subscription.amount_minor, subscription.minimum_minor)
    mine = offers.had(current, quantity, paid, agreed, currency)
    sold = [one for one in mine.limits if not await usage_store.only_plans_pay(connection, one)]
    return rules.cheaper(mine, others, await _used(connection, subscription), currency, sold)


async def _used(
    connection: AsyncConnection, subscription: Subscription
) -> list[dict[str, Decimal]]:
    """Return the units used in each of the last closed cycles that is a whole one."""
    whose, every = subscription.account_id, subscription.interval
    return [
        _units(one, await usage_store.cycle_counters(connection, whose, one.start_at))
        for one in await store.closed_cycles(connection, subscription)
        if rules.is_whole(one.start_at, one.end_at, one.zone, every)
    ]


def _units(period: Period, counters: dict[str, Counter]) -> dict[str, Decimal]:
    """Return the units used through the plan, without those paid with credits."""
    units = {}
    for meter, counter in counters.items():
        limit = period.limits.get(meter)
        units[meter] = (
            min(counter.quantity, limit.included) + counter.net_overage
            if limit is not None and limit.then == "overage"
            else counter.quantity
        )
    return units
