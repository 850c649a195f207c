"""Create subscriptions, run commands on them, and preview both.

The decisions are in `payment_effects.py` and the folders `commands`, `periods`, `terms` and
`endings`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, periods
from billing.core.clock import now_by
from billing.core.errors import Conflict, NotFound
from billing.core.money import ZERO
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.effects import Bear, Work
from billing.matters.schemas import Matter
from billing.money.collecting.rules import FIRST_APPROVAL_WITHIN
from billing.money.discounts import service as discount_service
from billing.money.discounts import store as discount_store
from billing.money.discounts.service import Redeeming
from billing.money.invoices import usage_lines
from billing.money.payments.demands import demand_usable
from billing.money.payments.schemas import Payment
from billing.money.subscriptions import orders, payment_effects, store
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.commands.over_limits import over_limits
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import spans
from billing.money.subscriptions.previews import deciding, foreseeing
from billing.money.subscriptions.previews.deciding import Preview, Upcoming
from billing.money.subscriptions.reading import ENGINE
from billing.money.subscriptions.rules import AWAITS_PAYER, ENDED
from billing.money.subscriptions.schemas import (
    NewSubscription,
    PlanWish,
    Subscription,
    SubscriptionChange,
)
from billing.money.subscriptions.states import Command, demand
from billing.money.subscriptions.terms import agreements
from billing.money.trials import service as trial_service
from billing.money.trials import store as trial_store
from billing.platform.accounts.schemas import Account
from billing.platform.decisions import service as decisions

T = TypeVar("T")


async def start(
    connection: AsyncConnection, account_id: UUID, wanted: NewSubscription, *, subscription_id: UUID
) -> Matter:
    """Create a subscription: in a trial, or `incomplete` with a draft invoice to be paid first
    [C4]. It begins at the account's now, read under its lock.

    An incomplete predecessor must have ended. Errors: SUBSCRIPTION_EXISTS, INVALID_COUPON,
    PAYMENT_OVERDUE for a trial, those of `orders.validate`, and those of a saved card that must pay
    now but may not be charged.
    """
    begun = await _begin(connection, account_id, wanted, subscription_id)
    return matters.of_birth(begun[0])


async def foresee_start(
    connection: AsyncConnection, account_id: UUID, wanted: NewSubscription
) -> Preview:
    """Preview a new subscription as if it were paid; the caller rolls everything back.

    An incomplete predecessor is ended first. Errors: PAYMENT_PENDING, and those of `start`.
    """
    before = await store.find_open(connection, account_id)
    if before is not None and await ask(connection, before.id, running.supersede):
        await ask(connection, before.id, payment_effects.end_incomplete)
    _, work = await _begin(connection, account_id, wanted, ids.new(), dry_run=True)
    return await foreseeing.foresee(connection, work, work.facts.at)


async def _begin(
    connection: AsyncConnection,
    account_id: UUID,
    wanted: NewSubscription,
    subscription_id: UUID,
    *,
    dry_run: bool = False,
) -> tuple[Bear, Work[SubscriptionFacts]]:
    balance, account = await credits.lock_with_account(connection, account_id)
    at = now_by(account.clock_at)
    order = await orders.validate(connection, account_id, wanted, pays_in=balance.currency, at=at)
    await _refuse_second(connection, account.id)
    await credits.fix_currency(connection, account.id, order.price.currency)
    ends = await _take_trial(connection, account, order, at)
    row = _row(account, order, subscription_id, ends, at)
    await store.add(connection, row, [_plan_item(order)])
    await _redeem(connection, account, row, wanted.coupon, at)
    method_id = order.method.id if order.method else None
    verb = partial(running.begin, method_id=method_id, use_balance=wanted.use_balance)
    begun = await decisions.command(connection, ENGINE, subscription_id, verb, dry_run=dry_run)
    if order.method is not None and begun[1].rows.of(Payment):  # the card must pay now
        await demand_usable(connection, order.method, order.price.currency, at)
    return begun


async def _redeem(
    connection: AsyncConnection,
    account: Account,
    row: Mapping[str, Any],
    code: str | None,
    at: datetime,
) -> None:
    if code is None:
        return
    asked = Redeeming(
        code=code,
        product=row["plan_key"],
        currency=row["currency"],
        subscription_id=row["id"],
        is_reserved=row["status"] == "incomplete",
    )
    discount = await discount_service.redeem(connection, account, asked, ids.new(), at)
    await discount_store.add(connection, discount)


async def ask(
    connection: AsyncConnection,
    subscription_id: UUID,
    verb: Callable[[Work[SubscriptionFacts]], T],
    *,
    about: PlanWish | None = None,
) -> T:
    """Run any decision over the subscription's rows, such as a command, and return its answer. The
    matter is woken, and notified after the commit. `about` is the requested change of plan.
    """
    answer, _ = await decisions.command(connection, ENGINE, subscription_id, verb, about=about)
    return answer


async def carry_out(
    connection: AsyncConnection,
    subscription_id: UUID,
    verb: Callable[[Work[SubscriptionFacts]], object],
    *,
    about: PlanWish | None = None,
) -> tuple[Matter, ...]:
    """Run a command that may end the subscription; return the collections and reversals to start
    or wake after the commit.
    """
    _, work = await decisions.command(connection, ENGINE, subscription_id, verb, about=about)
    return await decisions.born_by(connection, work)


async def commanded(
    connection: AsyncConnection, account_id: UUID, command: Command
) -> Subscription:
    """Return the account's current subscription, for a command.

    Errors: SUBSCRIPTION_NOT_FOUND, and SUBSCRIPTION_STATE for one that has ended.
    """
    found = await store.find_current(connection, account_id)
    if found is None:
        raise NotFound("SUBSCRIPTION_NOT_FOUND")
    if found.status in ENDED:
        demand(found.status, command)
    return found


async def change_before(
    connection: AsyncConnection, account_id: UUID, change_id: UUID
) -> SubscriptionChange | None:
    """Return the change that an earlier try of the same request wrote; take the current
    subscription's lock first, because that request may be about to commit.
    """
    found = await store.find_current(connection, account_id)
    if found is not None:
        await store.get(connection, found.id, lock=True)
    return await store.find_change(connection, change_id)


async def glance(
    connection: AsyncConnection,
    subscription_id: UUID,
    verb: Callable[[Work[SubscriptionFacts]], object],
    *,
    about: PlanWish | None = None,
) -> Preview | None:
    """Preview a command without a lock; None: use must be counted again (`recount`)."""
    _, work = await decisions.command(
        connection, ENGINE, subscription_id, verb, about=about, dry_run=True
    )
    seen = foreseeing.glanced(work, work.facts.at)
    return _with_limits(seen, work) if seen is not None else None


async def foresee(
    connection: AsyncConnection,
    subscription_id: UUID,
    verb: Callable[[Work[SubscriptionFacts]], object],
    *,
    about: PlanWish | None = None,
) -> Preview:
    """Preview a command; the caller rolls everything back."""
    seen = await glance(connection, subscription_id, verb, about=about)
    return seen or await recount(connection, subscription_id, verb, about=about)


async def recount(
    connection: AsyncConnection,
    subscription_id: UUID,
    verb: Callable[[Work[SubscriptionFacts]], object],
    *,
    about: PlanWish | None = None,
) -> Preview:
    """`foresee` where `glance` has returned None."""
    _, work = await decisions.command(
        connection, ENGINE, subscription_id, verb, about=about, dry_run=True, locked=True
    )
    return _with_limits(await foreseeing.foresee(connection, work, work.facts.at), work)


def _with_limits(seen: Preview, work: Work[SubscriptionFacts]) -> Preview:
    return seen.model_copy(update={"over_limits": over_limits(work, seen.change)})


async def upcoming(connection: AsyncConnection, subscription_id: UUID) -> Upcoming | None:
    """Preview the end of the current period."""
    _, work = await decisions.command(
        connection, ENGINE, subscription_id, lambda _: None, dry_run=True
    )
    return deciding.upcoming(work.rows, work.facts)


async def call_off(
    connection: AsyncConnection, account_id: UUID, change_id: UUID
) -> SubscriptionChange:
    """Cancel a scheduled change. Errors: CHANGE_NOT_FOUND, CHANGE_NOT_SCHEDULED, CHANGE_PENDING."""
    found = await _to_call_off(connection, account_id, change_id)
    await ask(connection, found.subscription_id, partial(running.call_off, change_id=change_id))
    return await store.find_change(connection, change_id) or found


async def foresee_call_off(
    connection: AsyncConnection, account_id: UUID, change_id: UUID
) -> Preview:
    """Preview `call_off`, with its errors; the caller rolls everything back."""
    found = await _to_call_off(connection, account_id, change_id)
    verb = partial(running.call_off, change_id=change_id)
    return await foresee(connection, found.subscription_id, verb)


async def _to_call_off(
    connection: AsyncConnection, account_id: UUID, change_id: UUID
) -> SubscriptionChange:
    found = await store.find_change(connection, change_id)
    if found is None or found.account_id != account_id:
        raise NotFound("CHANGE_NOT_FOUND")
    is_offered = found.kind in ("add_ons", "pause", "plan")
    if not (is_offered and found.status in ("scheduled", "canceled")):
        words = {
            "scheduled": "a change of the price cannot be called off; cancel before it comes",
            "pending": "the change waits for its payment",
        }
        why = words.get(found.status, f"the change is already {found.status}")
        raise Conflict("CHANGE_NOT_SCHEDULED", why)
    return found


async def bill_late(connection: AsyncConnection, account_id: UUID) -> list[Matter]:
    """Invoice use that arrived after its subscription ended; return the collection matters.

    Callers hold the account's lock, and start the matters after the commit.
    """
    born: list[Matter] = []
    for subscription_id in await usage_lines.take_late(connection, account_id):
        _, work = await decisions.command(
            connection, ENGINE, subscription_id, payment_effects.bill_late, locked=False
        )
        born += await decisions.born_by(connection, work)
    return born


async def _refuse_second(connection: AsyncConnection, account_id: UUID) -> None:
    existing = await store.find_open(connection, account_id)
    if existing is not None:
        raise Conflict(
            "SUBSCRIPTION_EXISTS",
            state=existing.status,
        )


async def _take_trial(
    connection: AsyncConnection, account: Account, order: orders.CheckedOrder, at: datetime
) -> datetime | None:
    """Start the plan's trial and return its end; None without one, or if used before [D10]."""
    if not (order.wanted.trial and order.plan.trial_days):
        return None
    wall = periods.to_wall(at, account.zone) + timedelta(days=order.plan.trial_days)
    ends = periods.from_wall(wall, account.zone)
    taken = await trial_service.take(
        connection, account, ids.new(), trial_store.SUBSCRIPTION_TRIAL, ZERO,
        started_at=at, ends_at=ends,
    )  # fmt: skip
    return ends if taken is not None else None


def _row(
    account: Account,
    order: orders.CheckedOrder,
    subscription_id: UUID,
    trial_end: datetime | None,
    at: datetime,
) -> dict[str, Any]:
    interval = order.wanted.interval
    first = spans.first(
        at, account.zone, interval, order.wanted.billing_day, trial_end, order.plan.allowance
    )
    return {
        **first,
        **agreements.born_with(order.contract, order.price, first, trial_end or at),
        "id": subscription_id,
        "account_id": account.id,
        "plan_id": order.plan.id,
        "plan_key": order.plan.key,
        "price_id": order.price.id,
        "currency": order.price.currency,
        "amount_minor": order.price.amount_minor * order.wanted.quantity,
        "interval_unit": interval.unit,
        "interval_count": interval.count,
        "status": "trialing" if trial_end else "incomplete",
        "trial_end": trial_end,
        "trial_end_behavior": order.plan.trial_end_behavior,
        "payment_method_id": order.wanted.method_id,
        "collection": order.wanted.collection,
        "days_until_due": order.wanted.days_until_due,
        "billing_threshold_minor": order.plan.billing_threshold.get(order.price.currency),
        "incomplete_expires_at": None if trial_end else at + _first_payment_within(order.wanted),
        "minimum_minor": order.price.minimum_minor,
        "created_at": at,
        "updated_at": at,
    }


def _first_payment_within(wanted: NewSubscription) -> timedelta:
    return FIRST_APPROVAL_WITHIN if wanted.collection == "send_invoice" else AWAITS_PAYER


def _plan_item(order: orders.CheckedOrder) -> dict[str, Any]:
    return {
        "kind": "plan",
        "price_id": order.price.id,
        "description": order.plan.name,
        "quantity": order.wanted.quantity,
        "amount_minor": order.price.amount_minor,
    }
