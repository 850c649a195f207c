"""The verbs a customer or operator asks of a subscription: subscribe, cancel, reactivate.

What time and money do to it is in `cycles.py` and `settlement.py` beside this file.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts.schemas import Account
from billing.catalog import store as catalog
from billing.catalog.schemas import Plan, Price
from billing.core import context, ids, matters, periods
from billing.core.agenda import head
from billing.core.errors import Conflict, NotFound
from billing.credits import service as credits
from billing.payments import methods
from billing.payments import service as paying
from billing.payments.currencies import collectable
from billing.payments.schemas import Method
from billing.subscriptions import cycles, notes, settlement, store
from billing.subscriptions.rules import INCOMPLETE_LIFETIME, agenda, cycle_bounds
from billing.subscriptions.schemas import NewSubscription, Subscription
from billing.subscriptions.states import demand
from billing.trials import service as trials
from billing.trials import store as trial_store

DEFAULT_CURRENCY = "USD"


class Offer(BaseModel):
    """What a wish comes down to: the plan version, its price, and the card to charge."""

    model_config = ConfigDict(frozen=True)

    wanted: NewSubscription
    plan: Plan
    price: Price
    method: Method | None


async def offer(connection: AsyncConnection, account_id: UUID, wanted: NewSubscription) -> Offer:
    """Check a wish without changing anything.

    Errors: PLAN_NOT_FOUND, CURRENCY_MISMATCH, PAYMENT_METHOD_NOT_FOUND.
    """
    plan = await catalog.find_plan(connection, wanted.plan)
    if plan is None or not plan.is_active:
        raise NotFound("PLAN_NOT_FOUND", f"no plan {wanted.plan!r}")
    balance = await credits.lock(connection, account_id)
    currency = wanted.currency or balance.currency or DEFAULT_CURRENCY
    price = await catalog.plan_price(connection, plan.key, currency, wanted.interval)
    if price is None or balance.currency not in (None, currency):
        raise Conflict("CURRENCY_MISMATCH", f"plan {plan.key} has no such price in {currency}")
    if wanted.method_id is not None:
        method: Method | None = await methods.get(connection, wanted.method_id)
    else:
        method = None if wanted.pay_by_card else await methods.default(connection, account_id)
    return Offer(wanted=wanted, plan=plan, price=price, method=method)


async def start(
    connection: AsyncConnection,
    account: Account,
    wanted: NewSubscription,
    *,
    subscription_id: UUID,
    at: datetime,
) -> matters.Matter:
    """Subscribe: into a trial, or `incomplete` with a draft invoice to be paid first [C4].

    An incomplete predecessor must have been given up before. Errors: SUBSCRIPTION_EXISTS, and
    those of `offer`.
    """
    terms = await offer(connection, account.id, wanted)
    await _refuse_second(connection, account.id)
    await credits.fix_currency(connection, account.id, terms.price.currency)
    ends = await _take_trial(connection, account, terms, at)
    row = _row(account, terms, subscription_id, ends, at)
    subscription = await store.add(connection, row, [_plan_item(terms)])
    await notes.announce(connection, subscription, "created", at)
    if ends is None:
        await _bill_first(connection, account, subscription, terms, at)
    else:
        await cycles.grant_cycle(connection, subscription, at)
    state = await store.state(connection, subscription.id)
    return await matters.birth(
        connection,
        kind="subscription",
        account_id=account.id,
        subject_id=subscription.id,
        head=head(agenda(state)),
        at=at,
        correlation_id=context.correlation_id.get(),
    )


async def supersede(
    connection: AsyncConnection, subscription_id: UUID, at: datetime
) -> matters.Matter | None:
    """Ask an incomplete subscription to be given up; its own workflow asks Stripe first."""
    subscription = await store.get(connection, subscription_id, lock=True)
    if subscription.status != "incomplete":
        return None
    await store.change(connection, subscription.id, superseded_at=at, updated_at=at)
    return await _woken(connection, subscription, at)


async def cancel(
    connection: AsyncConnection, subscription_id: UUID, *, now: bool, at: datetime
) -> Subscription:
    """Cancel at period end, or now: what was served and not paid goes to Collection [C5]."""
    subscription = await store.get(connection, subscription_id, lock=True)
    demand(subscription.status, "cancel")
    if subscription.status == "incomplete":
        fields: dict[str, Any] = {"superseded_at": at, "canceled_at": at}
        changed = await store.change(connection, subscription.id, updated_at=at, **fields)
    elif now or subscription.status in ("paused", "unpaid"):
        changed = await settlement.end(connection, subscription, "canceled by request", at)
    else:
        changed = await store.change(
            connection, subscription.id, cancel_at_period_end=True, canceled_at=at, updated_at=at
        )
        await notes.announce(connection, changed, "cancel_scheduled", at)
    await _woken(connection, changed, at)
    return changed


async def reactivate(
    connection: AsyncConnection, subscription_id: UUID, at: datetime
) -> Subscription:
    """Take a scheduled end back, before it comes [C7]."""
    subscription = await store.get(connection, subscription_id, lock=True)
    demand(subscription.status, "reactivate")
    if not subscription.cancel_at_period_end:
        raise Conflict("SUBSCRIPTION_STATE", "no end is scheduled", state=subscription.status)
    changed = await store.change(
        connection, subscription.id, cancel_at_period_end=False, canceled_at=None, updated_at=at
    )
    await notes.announce(connection, changed, "reactivated", at)
    await _woken(connection, changed, at)
    return changed


async def _woken(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> matters.Matter | None:
    workflow_id = matters.workflow_id("subscription", subscription.id)
    await matters.wake(connection, workflow_id, at)
    return await matters.find(connection, workflow_id)


async def _refuse_second(connection: AsyncConnection, account_id: UUID) -> None:
    existing = await store.find_open(connection, account_id)
    if existing is not None:
        raise Conflict(
            "SUBSCRIPTION_EXISTS", "this account has an open subscription", state=existing.status
        )


async def _take_trial(
    connection: AsyncConnection, account: Account, terms: Offer, at: datetime
) -> datetime | None:
    """When the plan's own trial ends; None without one, or when it was used before [D10]."""
    if not (terms.wanted.trial and terms.plan.trial_days):
        return None
    wall = periods.to_wall(at, account.zone) + timedelta(days=terms.plan.trial_days)
    ends = periods.from_wall(wall, account.zone)
    taken = await trials.take(
        connection, account, ids.new(), trial_store.SUBSCRIPTION_TRIAL, Decimal(0),
        started_at=at, ends_at=ends,
    )  # fmt: skip
    return ends if taken is not None else None


def _row(
    account: Account,
    terms: Offer,
    subscription_id: UUID,
    trial_end: datetime | None,
    at: datetime,
) -> dict[str, Any]:
    """A trial is period -1: paid periods count from its end."""
    interval, zone = terms.wanted.interval, account.zone
    anchor = periods.to_wall(trial_end or at, zone)
    end = trial_end or periods.boundary(anchor, zone, interval, 1)
    cycle_anchor = periods.to_wall(at, zone)
    return {
        "id": subscription_id,
        "account_id": account.id,
        "plan_id": terms.plan.id,
        "plan_key": terms.plan.key,
        "price_id": terms.price.id,
        "currency": terms.price.currency,
        "amount_minor": terms.price.amount_minor * terms.wanted.quantity,
        "interval_unit": interval.unit,
        "interval_count": interval.count,
        "status": "trialing" if trial_end else "incomplete",
        "anchor_wall": anchor,
        "zone": zone,
        "period_number": -1 if trial_end else 0,
        "current_period_start": at,
        "current_period_end": end,
        "cycle_start": at,
        "cycle_end": cycle_bounds(cycle_anchor, zone, terms.plan.allowance, at, end),
        "trial_end": trial_end,
        "trial_end_behavior": terms.plan.trial_end_behavior,
        "billing_threshold_minor": terms.plan.billing_threshold.get(terms.price.currency),
        "incomplete_expires_at": None if trial_end else at + INCOMPLETE_LIFETIME,
        "created_at": at,
        "updated_at": at,
    }


def _plan_item(terms: Offer) -> dict[str, Any]:
    return {
        "kind": "plan",
        "price_id": terms.price.id,
        "description": terms.plan.name,
        "quantity": terms.wanted.quantity,
        "amount_minor": terms.price.amount_minor,
    }


async def _bill_first(
    connection: AsyncConnection,
    account: Account,
    subscription: Subscription,
    terms: Offer,
    at: datetime,
) -> None:
    """The first invoice stays a draft until paid; one that is free or too small activates now."""
    invoice = await cycles.draft_period(connection, subscription, account.issuer_id, at)
    if not collectable(invoice.amount_due_minor, invoice.currency):
        paid = await cycles.finalize(connection, invoice, at)
        await settlement.on_paid(connection, subscription, paid, at)
        return
    await paying.open_road(
        connection,
        invoice,
        road="saved_card" if terms.method else "card",
        method_id=terms.method.id if terms.method else None,
        at=at,
    )
