"""A pause, and the new period after it. Pure."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.core import keys
from billing.core.errors import Conflict
from billing.core.money import show_decimal
from billing.matters.effects import Work
from billing.money.discounts import transitions as discounts
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice, Line
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    free_time,
    invoicing,
    items,
    proration,
    renewals,
    shares,
    spans,
    true_ups,
)
from billing.money.subscriptions.schemas import Item, PauseReason, Subscription


def pause(w: Work[SubscriptionFacts], reason: PauseReason) -> None:
    """Pause until somebody resumes; drafts become void, because that time is not owed."""
    for draft in invoicing.collected(w.rows, subscription_of(w), ("draft",)):
        invoices.void(w, draft, "no service in this period")
    paused = cycles.change(
        w, status="paused", pause_reason=reason, unpaid_at=None, unserved_since=None
    )
    announce(w, paused, "paused", reason=reason.replace("_", " "))


def forfeit_cycle(w: Work[SubscriptionFacts]) -> None:
    """After a change of terms, credit nothing for the cycle of a paused subscription: its unused
    part cannot be computed any more (docs/rules/subscriptions.md).
    """
    subscription = subscription_of(w)
    if subscription.status == "paused":
        _keep_until(w, subscription.cycle_end)


def _keep_until(w: Work[SubscriptionFacts], end: datetime) -> None:
    """Credit no time before `end`, until the subscription is resumed."""
    known = subscription_of(w).kept_until
    cycles.change(w, kept_until=max(end, known or end))


def bill_use(w: Work[SubscriptionFacts], closing: true_ups.Closing | None) -> None:
    """Bill use until the pause, and the minimum of the period that it cuts: the next one may never
    come. What was spent towards a minimum is not credited.
    """
    if closing is not None and closing.has_own:
        _keep_until(w, subscription_of(w).current_period_end)
    # At one instant of a frozen clock a subscription may pause twice.
    key = keys.pause(cycles.stem(subscription_of(w)), w.facts.new_id().hex)
    invoicing.bill_usage(w, key, invoicing.PAUSE, closing=closing)


def begun_now(w: Work[SubscriptionFacts]) -> Subscription:
    """Return the subscription with a new period from now."""
    subscription, allowance = subscription_of(w), w.facts.plan_of(w.rows).allowance
    zone = renewals.zone_anew(w, w.facts.at, subscription.amount_minor)
    return spans.anew(subscription, w.facts.at, subscription.interval, allowance, zone)


def draft(w: Work[SubscriptionFacts], change_id: UUID, coming: Work[SubscriptionFacts]) -> Invoice:
    """Draft the invoice of the new period that a resumption begins now: with a key of its own and
    no usage. `coming` has the rows that the period begins with.

    The key is the change's, because another period may have begun at this instant, whose draft is
    void.
    """
    new, plan = begun_now(coming), coming.facts.plan_of(coming.rows)
    lines = [invoicing.line_of(coming, item, new) for item in coming.rows.of(Item) if item.lasting]
    key = invoicing.change_key(w, change_id)
    invoice = invoicing.of_change(coming, key, lines, plan, new)
    if new.amount_minor and free_time.costs_nothing(invoice):
        part = shares.rest_of_cycle(new, plan.allowance, subscription_of(w).cycle_end)
        later = proration.credits_share(items.credits_of(coming), part)
        lines = [_with_credits(line, later) for line in lines]
        invoice = invoicing.of_change(coming, key, lines, plan, new)
    return invoices.draft(w, invoice)


def _with_credits(line: Line, amount: Decimal) -> Line:
    """Return the line; if it is the plan's, it brings that many credits. Those of the paused cycle
    stay until its end, so a period that costs nothing brings none for that time.
    """
    if line.kind != items.PLAN:
        return line
    return line.model_copy(update={"detail": line.detail | {"credits": show_decimal(amount)}})


def demand_next_second(w: Work[SubscriptionFacts], at: datetime) -> None:
    """Raise SUBSCRIPTION_STATE if the last billed cycle began in the second of `at`: cycles of the
    same second share one grant of credits (`keys.cycle_grant`) and one use of the allowance, and
    the customer would pay twice for them. A change has a grant of its own.
    """
    subscription, second = subscription_of(w), at.replace(microsecond=0)
    billed = [one for one in w.rows.of(Invoice) if one.status not in ("draft", "void")]
    began = [one.cycle_start for one in billed if one.cycle_start is not None]
    if subscription.cycle_start > subscription.current_period_start:
        began.append(subscription.cycle_start)
    if any(start >= second for start in began):
        message = "a period began in this second; begin another in the next one"
        raise Conflict("SUBSCRIPTION_STATE", message, state=subscription.status)


def resume(w: Work[SubscriptionFacts], invoice: Invoice, zone: str | None) -> None:
    """Begin the new period and anchor that this invoice has paid for; `zone` None: it stays."""
    subscription = subscription_of(w)
    items.apply_next_quantities(w)
    moved = cycles.change(
        w,
        status="active",
        pause_reason=None,
        kept_until=None,
        **spans.billed_by(invoice, zone or subscription.zone),
    )
    discounts.move_start(w, subscription.current_period_end, moved.current_period_start)
    announce(w, moved, "restarted", **items.told(w))
