"""Cycles that begin within a period, and the grants of each cycle's credits. Pure."""

from datetime import datetime
from decimal import Decimal

from billing.catalog.plans.rules import SERVED_AND_BILLED
from billing.core import keys, periods
from billing.core.money import ZERO
from billing.ledger.credits import verbs
from billing.matters.effects import Do, Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import OPEN_TO_MONEY, CreditNote, Invoice
from billing.money.refunds import transitions as refunds
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    free_time,
    invoicing,
    items,
    proration,
    rollover,
    spans,
)
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange, Terms


def next_cycle(w: Work[SubscriptionFacts]) -> Subscription:
    """Begin a cycle within a period; grant its credits if that is paid and nothing is overdue.

    Overage of the previous cycle is invoiced; in a trial it waits for the trial's end. After an
    outage of more than one cycle the charge is held for an operator (docs/rules/time.md).
    """
    subscription, allowance = subscription_of(w), w.facts.plan_of(w.rows).allowance
    start = subscription.cycle_end
    end = spans.cycle_end(subscription, allowance, start, subscription.current_period_end)
    moved = cycles.change(w, cycle_start=start, cycle_end=end)
    if subscription.status in ("active", "trialing"):
        grant_unbilled_cycle(w)
    if subscription.status in SERVED_AND_BILLED:
        key = keys.usage_before(cycles.stem(subscription), start)
        held = end <= w.facts.at or _is_beside_late(w, start)
        invoicing.bill_usage(w, key, invoicing.CYCLE._replace(held=held))
    return moved


def _is_beside_late(w: Work[SubscriptionFacts], start: datetime) -> bool:
    """True if an earlier cycle or the period was also invoiced late: after the cycle that begins at
    `start` had begun.
    """
    subscription = subscription_of(w)
    late = (one for one in invoicing.collected(w.rows, subscription) if one.created_at >= start)
    of_period = invoicing.period_key(subscription)
    return any(one.collection == "held" or one.fact_key == of_period for one in late)


def grant_cycle(w: Work[SubscriptionFacts]) -> str | None:
    """Grant the plan's credits of the current cycle, once per cycle start; they end with the cycle.
    Return the key of the grant, if there is one.

    They are those that the cycle began with, whatever changes of plan came later in it: each change
    grants its own.
    """
    subscription = subscription_of(w)
    changes = changes_in(w, subscription.cycle_start)
    began = [one.new_terms.credits_before for one in changes]
    whole = next((one for one in began if one is not None), cycles.cycle_credits(w, subscription))
    left = _less_missed(w, subscription.cycle_start, whole)
    return grant(w, subscription.cycle_start, subscription.cycle_end, left)


def grant_unbilled_cycle(w: Work[SubscriptionFacts]) -> None:
    """Grant the credits of a later cycle of a period, once the period's invoice is paid.

    Nothing is granted once the money of the period went back; a part that did takes its share.
    """
    subscription = subscription_of(w)
    start = subscription.cycle_start
    within = start > subscription.current_period_start
    if within and not w.facts.period_went_back and not _is_owed(w) and (key := grant_cycle(w)):
        for one in invoicing.collected(w.rows, subscription, ("paid",)):
            if _bills_period(w, one):
                refunds.take_from_grant(w, one, key, start)


def _is_owed(w: Work[SubscriptionFacts]) -> bool:
    """True while the plan of the current period is not paid: with the period, or a change in it."""
    owed = invoicing.collected(w.rows, subscription_of(w), OPEN_TO_MONEY)
    return any(
        _bills_period(w, one) or (one.status != "draft" and bills_plan(w, one)) for one in owed
    )


def bills_plan(w: Work[SubscriptionFacts], invoice: Invoice) -> bool:
    """True if this charges the plan for time of the current period."""
    start = subscription_of(w).current_period_start
    lines = (one for one in invoices.lines_of(w.rows, invoice.id) if one.kind == items.PLAN)
    return any(one.period_start is not None and one.period_start >= start for one in lines)


def _bills_period(w: Work[SubscriptionFacts], invoice: Invoice) -> bool:
    """True if this is the invoice of the current period and its first cycle."""
    start = subscription_of(w).current_period_start
    return invoice.cycle_start is not None and invoice.period_start == start


def grant(
    w: Work[SubscriptionFacts], start: datetime, end: datetime, amount: Decimal
) -> str | None:
    """Grant the plan's credits of one cycle; none if the plan has none or the cycle is over.
    Return the key of the grant.
    """
    subscription, plan = subscription_of(w), w.facts.plan_of(w.rows)
    if not amount or end <= w.facts.at:
        return None
    if not subscription.amount_minor and start == subscription.cycle_start:
        # The end at a date that cuts the cycle may be taken back; its rest has no grant of its own.
        end = subscription.cycle_whole_end or end
    if not subscription.amount_minor:
        amount = free_time.left_in_month(w, plan.allowance, start, amount)
        if not amount:
            return None
    key = grant_key(subscription, plan.allowance, start)
    lot: verbs.NewGrant = {
        "account_id": subscription.account_id,
        "amount": amount,
        "kind": "plan",
        "key": key,
        "is_paid": False,
        "reason": f"{plan.name}, cycle of {periods.spoken_day(start, subscription.zone)}",
        "expires_at": end,
        "subject": cycles.stem(subscription),
    }
    kept = rollover.kept(w, amount, start)
    if kept is not None:
        lot["kept"] = kept
    w.do(Do(verbs.GRANT, lot))
    return key


def grant_billed(w: Work[SubscriptionFacts], invoice: Invoice) -> None:
    """Grant the credits of the cycle that an invoice billed; what went back takes its share."""
    if invoice.cycle_start is None or invoice.cycle_end is None:
        return
    key = grant(w, invoice.cycle_start, invoice.cycle_end, credits_billed(w, invoice))
    if key is not None:
        refunds.take_from_grant(w, invoice, key)


def credits_billed(w: Work[SubscriptionFacts], invoice: Invoice) -> Decimal:
    """Return the credits of the cycle that an invoice billed, as its plan line says; none for the
    invoice of a change of plan, which grants its own, and none once a pause has ended the cycle.
    """
    if any(one.invoice_id == invoice.id for one in _changes(w)) or _is_cut(w, invoice):
        return ZERO
    said = [one.detail.get("credits") for one in invoices.lines_of(w.rows, invoice.id)]
    # The previous release did not write them onto the line.
    whole = next((Decimal(one) for one in said if one is not None), items.credits_of(w))
    return _less_missed(w, invoice.cycle_start, whole)


def _is_cut(w: Work[SubscriptionFacts], invoice: Invoice) -> bool:
    """True if a pause has ended the cycle of this invoice: what is left of that buys no credits,
    which a pause and a resumption would multiply. A resumption may begin at that cycle's instant:
    its own invoice buys them.
    """
    applied = (one for one in w.rows.of(SubscriptionChange) if one.status == "applied")
    resumed = (one for one in applied if one.kind == "resume" and one.terms)
    ended = [one.new_terms.cycle_start for one in resumed if one.invoice_id != invoice.id]
    notes = (one for one in w.rows.of(CreditNote) if one.invoice_id == invoice.id)
    return invoice.cycle_start in ended or any(one.reason == proration.NOT_SERVED for one in notes)


def are_given_up(w: Work[SubscriptionFacts]) -> bool:
    """True if the current cycle's credits were never granted, and their invoice was given up."""
    subscription, allowance = subscription_of(w), w.facts.plan_of(w.rows).allowance
    start = subscription.cycle_start
    came = {grant_key(subscription, allowance, start)}
    for one in _changes(w):  # a change that begins a new period grants its first cycle
        asked = w.rows.find(Invoice, one.invoice_id)
        if asked is not None and asked.cycle_start == start:
            came.add(keys.change_grant(one.id))
    if any(one.origin in came for one in w.facts.lots):
        return False
    gone = invoicing.collected(w.rows, subscription, ("uncollectible",))
    return any(bills_plan(w, one) for one in gone)


def _less_missed(w: Work[SubscriptionFacts], start: datetime | None, whole: Decimal) -> Decimal:
    """Return a cycle's credits, less those that changes deducted before they were granted: in it,
    or in a cycle that such a change has begun.
    """
    applied = (one.new_terms for one in _changes(w))
    missed = (one.credits_missed for one in applied if _deducts_from(one, start))
    return max(ZERO, whole - sum(missed))


def _deducts_from(terms: Terms, start: datetime | None) -> bool:
    """True if the credits that a change deducts include those of the cycle that began then."""
    if start is None or terms.cycle_start is None:
        return False
    return (terms.row_start or terms.cycle_start) <= start <= terms.cycle_start


def row_start(w: Work[SubscriptionFacts]) -> datetime:
    """Return the start of the current cycle, or of the first in a row that changes have cut."""
    start = subscription_of(w).cycle_start
    begun = [one for one in _changes(w) if one.decided_at and one.decided_at >= start]
    cut = [one.new_terms for one in begun if one.new_terms.resets]
    return (cut[-1].row_start or cut[-1].cycle_start or start) if cut else start


def changes_in(w: Work[SubscriptionFacts], start: datetime) -> list[SubscriptionChange]:
    """Return the changes of plan applied in a cycle, oldest first."""
    return [one for one in _changes(w) if one.new_terms.cycle_start == start]


def _changes(w: Work[SubscriptionFacts]) -> list[SubscriptionChange]:
    """Return the applied changes of plan that had an invoice of their own, oldest first."""
    plans = (one for one in w.rows.of(SubscriptionChange) if one.kind == "plan")
    return sorted((one for one in plans if one.was_invoiced), key=lambda one: one.id)


def grant_key(subscription: Subscription, allowance: periods.Interval, start: datetime) -> str:
    """Return the key of a cycle's grant; all subscriptions to a free plan have one per month."""
    if subscription.amount_minor:
        return keys.cycle_grant(subscription.id, start)
    zone = subscription.zone
    day = periods.to_wall(free_time.month_of(allowance, zone, start), zone).date()
    return keys.free_grant(subscription.account_id, subscription.plan_key, day)
