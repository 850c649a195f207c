"""What time does to a subscription: periods move, invoices are written, cycles grant credits."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts import store as accounts
from billing.catalog import store as catalog
from billing.catalog.schemas import Plan
from billing.core import ids, keys, matters, periods
from billing.core.errors import NotFound
from billing.credits import service as credits
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice, Line, NewInvoice
from billing.payments.currencies import collectable
from billing.subscriptions import notes, store
from billing.subscriptions.rules import cycle_bounds
from billing.subscriptions.schemas import Item, Subscription
from billing.usage import closing


async def renew(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> tuple[Subscription, Invoice]:
    """The next period: invoice, period and cycle move in this one transaction [C11].

    While `unpaid` the invoice stays a draft. After an outage of more than one period the charge
    is held for an operator (product.md section 2).
    """
    number = subscription.period_number + 1
    start = subscription.current_period_end
    end = periods.boundary(
        subscription.anchor_wall, subscription.zone, subscription.interval, number + 1
    )
    held = end <= at or await _in_burst(connection, subscription)
    plan = await plan_of(connection, subscription)
    await store.turn_items(connection, subscription.id)
    moved = await store.change(
        connection,
        subscription.id,
        status="active" if subscription.status == "trialing" else subscription.status,
        period_number=number,
        current_period_start=start,
        current_period_end=end,
        cycle_start=start,
        cycle_end=cycle_bounds(
            subscription.anchor_wall, subscription.zone, plan.allowance, start, end
        ),
        updated_at=at,
    )
    await notes.announce(connection, moved, "renewed", at, period_start=start.isoformat())
    account = await accounts.get(connection, moved.account_id)
    issuer = account.issuer_id if account else None
    invoice = await draft_period(connection, moved, issuer, at, held=held)
    if moved.status != "unpaid":
        invoice = await finalize(connection, invoice, at)
    return moved, invoice


async def restart(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> tuple[Subscription, Invoice]:
    """A new period and anchor from now: after `unpaid` was paid, or a pause is over."""
    for draft in await invoices.of_matter(connection, _matter(subscription), ["draft"]):
        await invoicing.void(connection, draft, "no service in this period", at)
    plan = await plan_of(connection, subscription)
    await store.turn_items(connection, subscription.id)
    anchor = periods.to_wall(at, subscription.zone)
    end = periods.boundary(anchor, subscription.zone, subscription.interval, 1)
    moved = await store.change(
        connection,
        subscription.id,
        status="active",
        anchor_wall=anchor,
        period_number=0,
        current_period_start=at,
        current_period_end=end,
        cycle_start=at,
        cycle_end=cycle_bounds(anchor, subscription.zone, plan.allowance, at, end),
        updated_at=at,
    )
    await notes.announce(connection, moved, "restarted", at)
    account = await accounts.get(connection, moved.account_id)
    invoice = await draft_period(connection, moved, account.issuer_id if account else None, at)
    return moved, await finalize(connection, invoice, at)


async def draft_period(
    connection: AsyncConnection,
    subscription: Subscription,
    issuer_id: UUID | None,
    at: datetime,
    *,
    held: bool = False,
) -> Invoice:
    """The draft of the current period, once per period start: each item in advance, usage of the
    cycles before it in arrears.

    What a draft bills must be finalized in its transaction: before the first payment, and while
    `unpaid`, it has no usage, which goes onto the next one.
    """
    start, end = subscription.current_period_start, subscription.current_period_end
    items = await store.items(connection, subscription.id)
    arrears: tuple[Line, ...] = ()
    if subscription.status not in ("incomplete", "unpaid"):
        arrears = await closing.lines(
            connection, subscription.account_id, subscription.id, before=subscription.cycle_start
        )
    invoice = await invoicing.draft(
        connection,
        NewInvoice(
            account_id=subscription.account_id,
            issuer_id=issuer_id,
            workflow_id=_matter(subscription),
            fact_key=_period_key(subscription),
            currency=subscription.currency,
            subscription_id=subscription.id,
            lines=(*(_line(item, start, end) for item in items), *arrears),
            period_start=start,
            period_end=end,
            cycle_start=subscription.cycle_start,
            cycle_end=subscription.cycle_end,
            collection="held" if held else "automatic",
        ),
        at,
    )
    await closing.settle(connection, invoice, arrears, at)
    return invoice


async def bill_usage(
    connection: AsyncConnection,
    subscription: Subscription,
    mark: str,
    at: datetime,
    *,
    before: datetime | None = None,
    debts: bool = False,
    early: bool = False,
) -> Invoice | None:
    """An invoice of its own for use beyond the plan that no period's invoice bills, once per mark.

    Usage of cycles that began `before`, or of all; with `debts` also without any, where a card
    can be charged for what the money balance carries. None where nothing is owed. `early`: the
    open cycle goes on, and its close bills the rest.
    """
    arrears = await closing.lines(
        connection, subscription.account_id, subscription.id, before=before, early=early
    )
    if not arrears and not (debts and await _carries_debt(connection, subscription)):
        return None
    stem = ids.encode(ids.SUBSCRIPTION, subscription.id)
    invoice = await _draft_lines(connection, subscription, arrears, f"{stem}/{mark}", at)
    await closing.settle(connection, invoice, arrears, at)
    return await finalize(connection, invoice, at)


async def bill_now(
    connection: AsyncConnection,
    subscription: Subscription,
    lines: Sequence[Line],
    mark: str,
    at: datetime,
) -> Invoice:
    """An invoice of its own for something bought within a period, once per period and mark."""
    key = f"{_period_key(subscription)}/{mark}"
    return await finalize(
        connection, await _draft_lines(connection, subscription, lines, key, at), at
    )


async def _draft_lines(
    connection: AsyncConnection,
    subscription: Subscription,
    lines: Sequence[Line],
    fact_key: str,
    at: datetime,
) -> Invoice:
    account = await accounts.get(connection, subscription.account_id)
    return await invoicing.draft(
        connection,
        NewInvoice(
            account_id=subscription.account_id,
            issuer_id=account.issuer_id if account else None,
            workflow_id=_matter(subscription),
            fact_key=fact_key,
            currency=subscription.currency,
            subscription_id=subscription.id,
            lines=tuple(lines),
        ),
        at,
    )


async def finalize(connection: AsyncConnection, invoice: Invoice, at: datetime) -> Invoice:
    """Number it; what is free or carried is paid already."""
    return await invoicing.finalize(connection, invoice, at)


async def next_cycle(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> Subscription:
    """A cycle within a period: grants at its start if nothing is overdue.

    Use beyond the plan in the cycle before is invoiced; that of a trial waits for its end.
    """
    plan = await plan_of(connection, subscription)
    start = subscription.cycle_end
    moved = await store.change(
        connection,
        subscription.id,
        cycle_start=start,
        cycle_end=cycle_bounds(
            subscription.anchor_wall,
            subscription.zone,
            plan.allowance,
            start,
            subscription.current_period_end,
        ),
        updated_at=at,
    )
    if subscription.status in ("active", "trialing"):
        await grant_cycle(connection, moved, at)
    if subscription.status in ("active", "past_due"):
        mark = f"usage-{start:%Y-%m-%dT%H:%M:%S.%fZ}"
        await bill_usage(connection, moved, mark, at, before=start)
    return moved


async def grant_cycle(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> None:
    """The plan's credits of the current cycle, once per cycle start; they end with the cycle."""
    await grant(connection, subscription, subscription.cycle_start, subscription.cycle_end, at)


async def grant(
    connection: AsyncConnection,
    subscription: Subscription,
    start: datetime,
    end: datetime,
    at: datetime,
) -> None:
    """The plan's credits of one cycle; nothing when the plan has none or the cycle is over."""
    plan = await plan_of(connection, subscription)
    if not plan.monthly_credits or end <= at:
        return
    await credits.grant(
        connection,
        account_id=subscription.account_id,
        amount=plan.monthly_credits,
        kind="plan",
        key=keys.cycle_grant(subscription.id, start),
        is_paid=False,
        reason=f"{plan.name}, cycle of {start:%-d %b %Y}",
        at=at,
        expires_at=end,
        subject=ids.encode(ids.SUBSCRIPTION, subscription.id),
    )


async def plan_of(connection: AsyncConnection, subscription: Subscription) -> Plan:
    """The plan version the subscription was sold with."""
    plan = await catalog.get_plan(connection, subscription.plan_id)
    if plan is None:
        raise NotFound("PLAN_NOT_FOUND", "the plan version is gone")
    return plan


async def _in_burst(connection: AsyncConnection, subscription: Subscription) -> bool:
    """Whether the period before was written late too, after this one should have begun."""
    before = await invoices.find_fact(connection, _period_key(subscription))
    return (
        before is not None
        and before.collection == "held"
        and before.created_at >= subscription.current_period_end
    )


async def _carries_debt(connection: AsyncConnection, subscription: Subscription) -> bool:
    """Whether what was too small for a card, use by use, is by now enough for one."""
    currency = subscription.currency
    balance = await invoices.money_balance(connection, subscription.account_id, currency)
    return balance < 0 and collectable(-balance, currency) > 0


def _line(item: Item, start: datetime, end: datetime) -> Line:
    return Line(
        kind=item.kind,
        description=f"{item.description}, {start:%-d %b %Y} to {end:%-d %b %Y}",
        quantity=Decimal(item.quantity),
        unit_amount=Decimal(item.amount_minor),
        amount_minor=item.amount_minor * item.quantity,
        period_start=start,
        period_end=end,
        detail={"add_on": item.add_on} if item.add_on else {"price": str(item.price_id)},
    )


def _period_key(subscription: Subscription) -> str:
    """The period as a business fact: a restart has another start, so another key."""
    stem = ids.encode(ids.SUBSCRIPTION, subscription.id)
    return f"{stem}/period-{subscription.current_period_start:%Y-%m-%dT%H:%M:%S.%fZ}"


def _matter(subscription: Subscription) -> str:
    return matters.workflow_id("subscription", subscription.id)
