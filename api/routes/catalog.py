"""Plans and credit packs on offer, and the entitlements of an account."""

from collections import defaultdict
from datetime import datetime
from typing import Annotated, Self

from fastapi import Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, as_page
from api.answers.problems import responses
from api.answers.public_ids import encoded
from api.answers.schemas import Answer, Credits, OneWord
from api.calls import ReadCall
from api.dependencies import MemberRead
from api.routes.base import new_router
from billing.catalog.plans import rules, store
from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.plans.schemas import (
    Access,
    AddOn,
    Currency,
    Entitlements,
    Limit,
    Pack,
    Plan,
    Price,
    Seats,
    Withheld,
)
from billing.catalog.products import store as products
from billing.core import ids
from billing.core.money import show_money
from billing.ledger.credits import store as balances
from billing.money.subscriptions import entitlements

router = new_router("catalog")


OneCurrency = Annotated[
    Currency | None,
    Query(description="Prices in this currency; by default the account's, else USD."),
]


class PriceAnswer(Answer):
    """A price in minor units per interval."""

    interval: str = Field(description="The interval of the price, such as `month` or `3 months`")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price per interval, of one seat if the plan is sold by seats, in minor"
        " units",
    )
    minimum_cents: int | None = Field(
        validation_alias="minimum_minor",
        description="The least that a period comes to, with all that is used in it",
    )
    currency: str
    label: str
    stripe_price_id: str | None

    @classmethod
    def of_price(cls, price: Price) -> Self:
        """A plan's price as callers see it."""
        every = rules.show_interval(price.interval) if price.interval else "once"
        label = f"{show_money(price.amount_minor, price.currency)} per {every}"
        if price.minimum_minor is not None:
            label += f", at least {show_money(price.minimum_minor, price.currency)}"
        return cls.of(price, interval=every, label=label)


class PlanAnswer(Answer):
    """A plan on offer [B2]. `price_monthly` and `price_yearly` are minor units of `currency`."""

    plan_id: Annotated[str, encoded(ids.PLAN)] = Field(validation_alias="id")
    key: str = Field(description="The key of the plan")
    version: int = Field(description="The version of the plan")
    family: str
    name: str = Field(description="The name of the plan, for people")
    description: str = Field(description="A sentence for people")
    price_monthly: int | None
    price_yearly: int | None
    currency: str
    prices: list[PriceAnswer] = Field(description="Its prices by interval")
    stripe_price_id_monthly: str | None
    stripe_price_id_yearly: str | None
    features: dict[str, bool | int | str]
    limits: tuple[Limit, ...]
    limits_by_name: dict[str, Credits] = Field(
        description="The included units by the name of the limit"
    )
    add_ons: tuple[AddOn, ...] = Field(description="The add-ons that it sells")
    seats: Seats | None = Field(
        description="How many seats it is sold with; null: it is not sold by seats"
    )
    billing_threshold_cents: int | None
    monthly_credits: Credits
    trial_days: int
    is_active: bool = Field(description="True: it is sold to new subscribers")
    created_at: datetime

    @classmethod
    def of_plan(cls, plan: Plan, prices: list[Price], currency: str) -> Self:
        """The plan with its prices in one currency."""
        known = {rules.show_interval(p.interval): p for p in prices if p.interval}
        month, year = known.get("month"), known.get("year")
        return cls.of(
            plan,
            price_monthly=month.amount_minor if month else None,
            price_yearly=year.amount_minor if year else None,
            stripe_price_id_monthly=month.stripe_price_id if month else None,
            stripe_price_id_yearly=year.stripe_price_id if year else None,
            currency=currency,
            billing_threshold_cents=plan.billing_threshold.get(currency),
            limits_by_name={rules.limit_name(one.meter): one.included for one in plan.limits},
            prices=[PriceAnswer.of_price(price) for price in prices],
        )


class PackAnswer(Answer):
    """A credit pack on offer; a purchase names it by its key."""

    package_id: Annotated[str, encoded(ids.PACK)] = Field(validation_alias="id")
    key: str = Field(description="The key of the pack")
    name: str = Field(description="The name of the pack, for people")
    description: str = Field(description="A sentence for people")
    credits: Credits = Field(description="The credits that it brings")
    amount_cents: int = Field(description="Its price, in minor units")
    currency: str
    label: str

    @classmethod
    def of_pack(cls, pack: Pack, price: Price) -> Self:
        """The pack with its price in one currency."""
        amount, currency = price.amount_minor, price.currency
        label = rules.pack_label(pack.credits, amount, currency)
        return cls.of(pack, amount_cents=amount, currency=currency, label=label)


class EntitlementAnswer(Answer):
    """Access to one feature, or to the meter of that name.

    A meter that the plan does not limit is counted, and granted without a limit. One whose limit
    includes nothing and blocks is not granted.
    """

    feature: str
    granted: bool = Field(description="True if the account may use it")
    value: bool | int | str | None = Field(
        description="What the plan says of the feature; null: nothing"
    )
    limit: Limit | None = Field(description="The limit of the meter; null: there is none")
    access: Access
    reason: Withheld | None = Field(
        description="Why the plan gives less than all: the state of the subscription, or"
        " `no_subscription`; null: it gives all"
    )

    @classmethod
    def of_feature(cls, feature: str, found: Entitlements, *, is_meter: bool) -> Self:
        """Return the entitlement for one name; an unknown name is not granted."""
        value = found.features.get(feature)
        limit = next((limit for limit in found.limits if limit.meter == feature), None)
        forbidden = limit is not None and not limit.included and limit.then == "block"
        return cls(
            feature=feature,
            granted=bool(value) or (is_meter and found.access != "none" and not forbidden),
            value=value,
            limit=limit,
            access=found.access,
            reason=found.reason,
        )


@router.get("/billing/plans", responses=responses())
async def list_plans(
    call: MemberRead, currency: OneCurrency = None, family: OneWord = None
) -> Page[PlanAnswer]:
    """The plans open to new subscribers, in the catalog's order [B1, B3].

    A plan without a price in the currency is not listed.
    """
    async with call.transaction() as connection:
        chosen = await _currency(connection, call, currency)
        plans = await store.current_plans(connection, active_only=True)
        by_plan: defaultdict[str, list[Price]] = defaultdict(list)
        for price in await store.current_prices(connection, "plan", chosen):
            by_plan[price.key].append(price)
    return as_page(
        PlanAnswer.of_plan(plan, by_plan[plan.key], chosen)
        for plan in plans
        if plan.key in by_plan and family in (None, plan.family)
    )


@router.get("/billing/credit-packages", responses=responses())
async def list_credit_packages(call: MemberRead, currency: OneCurrency = None) -> Page[PackAnswer]:
    """The credit packs on offer [E1]; a pack without a price in the currency is not listed."""
    async with call.transaction() as connection:
        chosen = await _currency(connection, call, currency)
        packs = await store.packs(connection, active_only=True)
        prices = {
            price.key: price for price in await store.current_prices(connection, "pack", chosen)
        }
    return as_page(
        PackAnswer.of_pack(pack, prices[pack.key]) for pack in packs if pack.key in prices
    )


@router.get("/billing/entitlements", responses=responses())
async def read_entitlements(call: MemberRead) -> Entitlements:
    """The features and limits of the account's subscription now: one indexed read, cheap enough for
    every request.

    `access` is full, no_new_overage (past due, by the plan's policy) or none; `reason` says why it
    is not full.
    """
    return await _entitlements(call)


@router.get("/billing/entitlements/{feature}", responses=responses())
async def read_entitlement(feature: str, call: MemberRead) -> EntitlementAnswer:
    """Access to one feature or meter now."""
    async with call.transaction() as connection:
        is_meter = await products.is_meter(connection, feature)
    return EntitlementAnswer.of_feature(feature, await _entitlements(call), is_meter=is_meter)


async def _entitlements(call: ReadCall) -> Entitlements:
    if call.account is None:
        return rules.NO_PLAN
    async with call.transaction() as connection:
        return await entitlements.of_account(connection, call.account.id)


async def _currency(connection: AsyncConnection, call: ReadCall, asked: str | None) -> str:
    if asked is not None or call.account is None:
        return asked or DEFAULT_CURRENCY
    return await balances.currency(connection, call.account.id) or DEFAULT_CURRENCY
