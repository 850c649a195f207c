"""Advice for one account, from its closed cycles, its lots and the catalog; writes nothing."""

from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as plans
from billing.catalog.plans.schemas import Limit, Plan
from billing.catalog.rating.schemas import PriceTerms
from billing.core.money import exponent
from billing.insight.forecasts import service as forecasts
from billing.insight.recommendations import rules, store
from billing.insight.recommendations.schemas import CheaperPlan, CreditsExpiring, Offer, Terms
from billing.metering.limit_overrides import store as limits
from billing.metering.usage import store as usage_store
from billing.metering.usage.schemas import Counter, Period
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.schemas import Subscription

_FREE: Final = PriceTerms()


async def advice(
    connection: AsyncConnection, account_id: UUID
) -> tuple[list[CheaperPlan | CreditsExpiring], datetime]:
    """Everything to be said, and the account's now [Q2]."""
    outlook = await forecasts.outlook(connection, account_id)
    found: list[CheaperPlan | CreditsExpiring] = []
    subscription = await subscriptions.find_open(connection, account_id)
    if subscription is not None and subscription.status in ("active", "past_due"):
        plan = await _cheaper_plan(connection, subscription, outlook.at)
        found += [plan] if plan else []
    lots = await store.lots(connection, account_id)
    found += rules.expiring(lots, outlook.daily_credits, outlook.at)
    return found, outlook.at


async def _cheaper_plan(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> CheaperPlan | None:
    """Among plans of the same family, currency and interval; where a cycle is that interval.

    What was agreed with the account goes before the limits of each.
    """
    current = await plans.get_plan(connection, subscription.plan_id)
    if current is None or current.allowance != subscription.interval:
        return None
    seats = [
        item.quantity
        for item in await subscriptions.items(connection, subscription.id)
        if item.kind == "plan"
    ]
    quantity = sum(seats) or 1
    agreed = await limits.holding(connection, subscription.account_id, at)
    others = []
    for plan in await plans.current_plans(connection, active_only=True):
        if plan.family != current.family or plan.key == current.key:
            continue
        price = await plans.plan_price(
            connection, plan.key, subscription.currency, subscription.interval
        )
        if price is not None and plan.allowance == current.allowance:
            others.append(
                _offer(plan, agreed, price.amount_minor * quantity, subscription.currency)
            )
    mine = _offer(current, agreed, subscription.amount_minor, subscription.currency)
    whose = subscription.account_id
    cycles = [
        _units(period, await usage_store.cycle_counters(connection, whose, "", period.start_at))
        for period in await store.closed_cycles(connection, subscription)
    ]
    return rules.cheaper(mine, others, cycles, subscription.currency)


def _units(period: Period, counters: dict[str, Counter]) -> dict[str, Decimal]:
    """Units used through the plan, without those paid with credits."""
    units = {}
    for meter, counter in counters.items():
        limit = period.limits.get(meter)
        beyond = limit is not None and limit["then"] == "overage"
        units[meter] = (
            min(counter.quantity, Decimal(limit["included"])) + counter.overage
            if limit is not None and beyond
            else counter.quantity
        )
    return units


def _offer(plan: Plan, agreed: dict[str, Limit], amount_minor: int, currency: str) -> Offer:
    terms = {}
    for limit in ({one.meter: one for one in plan.limits} | agreed).values():
        price = limit.prices.get(currency) if limit.then == "overage" else None
        terms[limit.meter] = Terms(limit.included, _FREE if limit.then == "notify" else price)
    return Offer(
        key=plan.key,
        price=Decimal(amount_minor).scaleb(-exponent(currency)),
        credits=plan.monthly_credits,
        features=plan.features,
        limits=terms,
    )
