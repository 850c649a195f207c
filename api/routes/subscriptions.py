"""The account's subscription: subscribe, read, cancel, reactivate."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, StringConstraints, field_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AccountCall, BillingCall, MemberCall
from api.driving import need_temporal, settled
from api.idempotency import Claim, OptionalKey
from api.problems import KEYED, responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Credits, Currency, left_out
from billing.accounts import store as accounts
from billing.catalog import store as catalog
from billing.core import clock, ids, matters
from billing.core.errors import NotFound, Unavailable
from billing.core.failpoints import failpoint
from billing.core.matters import Matter
from billing.core.periods import Interval
from billing.invoices import store as invoices
from billing.payments import store as payments
from billing.payments.rules import next_action
from billing.subscriptions import add_ons, service, store
from billing.subscriptions.schemas import Item, NewSubscription, Subscription

router = new_router("subscriptions")
_INTERVALS = {"monthly": Interval(unit="month"), "yearly": Interval(unit="year")}


class SubscribeBody(Body):
    """Which plan, how often it is billed, and how the first payment is made."""

    plan: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    interval: Literal["monthly", "yearly"] = "monthly"
    currency: Currency | None = None
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    payment_method_id: Annotated[str, StringConstraints(max_length=40)] | None = None
    payment_method: Literal["default", "card"] = "default"
    trial: Annotated[bool, Field(strict=True)] = True


class CancelBody(Body):
    """When it ends: at the end of what is paid, or now without money back."""

    at: Literal["period_end", "now"] = "period_end"


class AddOnBody(Body):
    """How many of one of the plan's add-ons."""

    add_on: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    quantity: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 1


class ChangeBody(Body):
    """What the subscription is to have: all its add-ons; those not named end with the period."""

    add_ons: Annotated[list[AddOnBody], Field(max_length=50)]

    @field_validator("add_ons")
    @classmethod
    def _each_once(cls, add_ons: list[AddOnBody]) -> list[AddOnBody]:
        if len({one.add_on for one in add_ons}) != len(add_ons):
            raise ValueError("name each add-on once")
        return add_ons


class AddOnPart(Answer):
    """An add-on it has; each gives `units` of `meter` per cycle for `amount_cents`."""

    add_on: str
    name: str
    meter: str
    units: Credits
    amount_cents: int
    quantity: int
    quantity_next_period: int

    @classmethod
    def of(cls, item: Item) -> Self:
        """The item as callers see it."""
        return cls.model_validate(
            item.model_dump(include={"add_on", "meter", "units", "quantity"})
            | {
                "name": item.description,
                "amount_cents": item.amount_minor,
                "quantity_next_period": item.lasting,
            }
        )


class PlanPart(Answer):
    """The plan version the subscription was sold with."""

    key: str
    name: str
    version: int
    family: str


class SubscriptionAnswer(Answer):
    """A subscription with its plan [C1, C2]; `next_action` concerns its newest open payment."""

    subscription_id: str
    status: str
    plan: PlanPart
    interval: str
    quantity: int
    amount_cents: int
    currency: str
    add_ons: list[AddOnPart]
    billing_threshold_cents: int | None
    current_period_start: datetime
    current_period_end: datetime
    cycle_start: datetime
    cycle_end: datetime
    trial_end: datetime | None
    cancel_at_period_end: bool
    canceled_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    stripe_subscription_id: str | None
    latest_invoice_id: str | None
    next_action: dict[str, Any] = Field(examples=[{"type": "none"}])
    created_at: datetime
    updated_at: datetime

    @classmethod
    async def of(cls, connection: AsyncConnection, subscription: Subscription) -> Self:
        """The subscription as callers see it, read in the caller's transaction."""
        plan = await catalog.get_plan(connection, subscription.plan_id)
        if plan is None:
            raise RuntimeError("a plan version that was sold is never deleted")
        items = await store.items(connection, subscription.id)
        invoice = await invoices.latest_of_subscription(connection, subscription.id)
        payment = await payments.latest(connection, invoice.id) if invoice else None
        known = subscription.model_dump(include=set(cls.model_fields))
        return cls(
            **known,
            subscription_id=ids.encode(ids.SUBSCRIPTION, subscription.id),
            plan=PlanPart(key=plan.key, name=plan.name, version=plan.version, family=plan.family),
            interval=_interval_name(subscription.interval),
            quantity=items[0].quantity,
            amount_cents=subscription.amount_minor,
            billing_threshold_cents=subscription.billing_threshold_minor,
            add_ons=[AddOnPart.of(item) for item in items if item.add_on],
            latest_invoice_id=ids.encode(ids.INVOICE, invoice.id) if invoice else None,
            next_action=next_action(
                owed=invoice is not None and invoice.status in ("draft", "open"),
                payment_status=payment.status if payment else None,
                client_secret=payment.client_secret if payment else None,
                redirect_url=None,
            ),
        )


@router.post(
    "/billing/subscription",
    response_model=SubscriptionAnswer,
    status_code=201,
    responses={
        202: {"model": SubscriptionAnswer, "description": "The first payment is undecided yet"},
        **responses(
            "SUBSCRIPTION_EXISTS", "SUBSCRIPTION_ENDING", "PLAN_NOT_FOUND", "CURRENCY_MISMATCH",
            "PAYMENT_METHOD_NOT_FOUND", "TEMPORAL_UNAVAILABLE", "MERCHANT_NOT_FOUND", *KEYED,
        ),
    },
)  # fmt: skip
async def subscribe(body: SubscribeBody, call: BillingCall, once: OptionalKey) -> Response:
    """Subscribe: into a trial, or incomplete until `next_action` is done [C4]."""
    async with once.claim(call) as claim:
        await need_temporal(call)
        wanted = _wanted(body)
        await _give_way(call, claim, wanted)
        matter = await _begin(call, claim, wanted)
        await settled(call, matter)
        async with call.transaction() as connection:
            subscription = await store.get(connection, claim.resource_id)
            answer = await SubscriptionAnswer.of(connection, subscription)
        return claim.answer(202 if answer.next_action["type"] == "wait" else 201, answer)


@router.get(
    "/billing/subscription", responses=responses("SUBSCRIPTION_NOT_FOUND", "MERCHANT_NOT_FOUND")
)
async def read_subscription(call: MemberCall) -> SubscriptionAnswer:
    """The open subscription, else the newest that ended [C1]."""
    async with call.transaction() as connection:
        subscription = await store.find_current(connection, call.account.id)
        if subscription is None:
            raise NotFound("SUBSCRIPTION_NOT_FOUND", "this account has no subscription")
        return await SubscriptionAnswer.of(connection, subscription)


@router.put(
    "/billing/subscription",
    response_model=SubscriptionAnswer,
    responses=responses(
        "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "PAYMENT_OVERDUE", "ADD_ON_NOT_FOUND",
        "ADD_ON_NOT_OFFERED", "MERCHANT_NOT_FOUND", *KEYED,
    ),
)  # fmt: skip
async def change_subscription(body: ChangeBody, call: BillingCall, once: OptionalKey) -> Response:
    """Choose its add-ons [B8]; sent again it changes nothing.

    More of one counts and is charged at once, less of one counts from the next period.
    """
    wanted = {one.add_on: one.quantity for one in body.add_ons if one.quantity}
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            subscription = await _open(connection, call)
            at = await clock.now(connection, call.account.id)
            await add_ons.choose(connection, subscription.id, wanted, at)
        return await _changed(call, claim, subscription.id)


@router.post(
    "/billing/subscription/cancel",
    response_model=SubscriptionAnswer,
    responses=responses("SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", *KEYED),
)
async def cancel_subscription(
    body: Annotated[CancelBody, left_out(CancelBody)], call: BillingCall, once: OptionalKey
) -> Response:
    """Cancel at period end, or now [C5]; never blocked by a running dunning."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            subscription = await _open(connection, call)
            at = await clock.now(connection, call.account.id)
            await service.cancel(connection, subscription.id, now=body.at == "now", at=at)
        return await _changed(call, claim, subscription.id)


@router.post(
    "/billing/subscription/reactivate",
    response_model=SubscriptionAnswer,
    responses=responses("SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", *KEYED),
)
async def reactivate_subscription(call: BillingCall, once: OptionalKey) -> Response:
    """Take a scheduled end back [C7]."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            subscription = await _open(connection, call)
            at = await clock.now(connection, call.account.id)
            await service.reactivate(connection, subscription.id, at)
        return await _changed(call, claim, subscription.id)


async def _open(connection: AsyncConnection, call: AccountCall) -> Subscription:
    subscription = await store.find_open(connection, call.account.id)
    if subscription is None:
        raise NotFound("SUBSCRIPTION_NOT_FOUND", "this account has no open subscription")
    return subscription


async def _changed(call: AccountCall, claim: Claim, subscription_id: UUID) -> Response:
    """The state the workflow left, once it has seen the change."""
    async with call.transaction() as connection:
        matter = await matters.find(
            connection, matters.workflow_id("subscription", subscription_id)
        )
    if matter is not None:
        await settled(call, matter)
    async with call.transaction() as connection:
        subscription = await store.get(connection, subscription_id)
        return claim.answer(200, await SubscriptionAnswer.of(connection, subscription))


async def _give_way(call: AccountCall, claim: Claim, wanted: NewSubscription) -> None:
    """An incomplete predecessor is given up first; Stripe may say that it was paid after all.

    Errors: SUBSCRIPTION_ENDING while Stripe has not answered; the same key then goes on.
    """
    async with call.transaction() as connection:
        existing = await store.find_open(connection, call.account.id)
        if existing is None or existing.id == claim.resource_id:
            return
        at = await clock.now(connection, call.account.id)
        matter = await service.supersede(connection, existing.id, at)
        await service.offer(connection, call.account.id, wanted)  # a bad wish gives nothing up
    if matter is None:
        return
    await settled(call, matter)
    async with call.transaction() as connection:
        before = await store.get(connection, existing.id)
    if before.status == "incomplete":
        raise Unavailable(
            "SUBSCRIPTION_ENDING", "the first payment of the subscription before is called back"
        )


async def _begin(call: AccountCall, claim: Claim, wanted: NewSubscription) -> Matter:
    await failpoint("api.claimed")
    async with call.transaction() as connection:
        if claim.resumed:
            workflow_id = matters.workflow_id("subscription", claim.resource_id)
            begun = await matters.find(connection, workflow_id)
            if begun is not None:
                return begun
        account = await accounts.get(connection, call.account.id)
        if account is None:
            raise RuntimeError("an authenticated account is never deleted")
        return await service.start(
            connection,
            account,
            wanted,
            subscription_id=claim.resource_id,
            at=account.clock_at or clock.real_now(),
        )


def _wanted(body: SubscribeBody) -> NewSubscription:
    method = body.payment_method_id
    return NewSubscription(
        plan=body.plan,
        interval=_INTERVALS[body.interval],
        currency=body.currency,
        quantity=body.quantity,
        method_id=ids.decode(ids.PAYMENT_METHOD, method) if method else None,
        pay_by_card=body.payment_method == "card",
        trial=body.trial,
    )


def _interval_name(interval: Interval) -> str:
    for name, known in _INTERVALS.items():
        if known == interval:
            return name
    return f"{interval.count} {interval.unit}"
