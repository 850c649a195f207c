"""The time that a change of plan charges and credits, and the line that charges it. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing.catalog.plans.schemas import Plan
from billing.core.periods import spoken_span
from billing.matters.effects import Work
from billing.money.invoices.schemas import Line
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import (
    cycles,
    for_nothing,
    invoicing,
    kept_discounts,
    portions,
    proration,
    spans,
)
from billing.money.subscriptions.schemas import Subscription, Terms
from billing.money.subscriptions.terms import changes


class Shape(NamedTuple):
    """The time that a change of plan charges and credits."""

    after: Subscription
    """The subscription with the period and cycle that the new price is charged for."""
    resets: bool
    """True if a new period and cycle begin with the change."""
    since: datetime
    """The instant up to which the previous plan is charged."""
    counts_use: bool
    """True if earlier use counts as used time: in a new cycle, or if less of anything is included,
    or if the rest costs nothing, it would be free.
    """
    charge: Line
    """The line that charges the new price for the rest of its period."""
    is_free: bool
    """True if that costs nothing."""


def of(w: Work[SubscriptionFacts], wanted: Terms, plan: Plan, at: datetime) -> Shape:
    """Return the shape of a change at this instant. Error: SUBSCRIPTION_STATE."""
    subscription, own = cycles.of(w), w.facts.plan_of(w.rows)
    # Free plans count by calendar months, and a cycle of another length has a new anchor.
    resets = (
        wanted.interval != subscription.interval
        or plan.allowance != own.allowance
        or bool(wanted.amount_minor) != bool(subscription.amount_minor)
    )
    if resets:
        after = spans.anew(subscription, at, wanted.interval, plan.allowance)
        changes.demand_a_day(after)
        since = spans.used_until(subscription, w.facts.used_share, at)
        return _shape(w, wanted, plan, at, after, since)
    changes.demand_whole_rest(subscription)
    if portions.includes_as_much(w, plan, wanted.quantity):
        found = _shape(w, wanted, plan, at, subscription, None)
        if not found.is_free:
            return found
    share = portions.used_share(w, plan, wanted.quantity)
    since = spans.used_until(subscription, share, at)
    return _shape(w, wanted, plan, at, subscription, since)


def _shape(
    w: Work[SubscriptionFacts],
    wanted: Terms,
    plan: Plan,
    at: datetime,
    after: Subscription,
    used_until: datetime | None,
) -> Shape:
    """Return it with its charge; `used_until`: None if use does not count as used time."""
    resets, since = after is not cycles.of(w), used_until or at
    charge = _charge_line(w, after, plan, wanted, at)
    if wanted.price_id == cycles.of(w).price_id:
        billed = proration.current(w.rows, ("plan",), since)
        charge = kept_discounts.keeping(charge, billed, since)
    fields = spans.fields(after) if resets else {}
    invoice = invoicing.of_change(w, "", [charge], plan, **fields)
    is_free = for_nothing.costs_nothing(invoice)
    return Shape(after, resets, since, used_until is not None, charge, is_free)


def _charge_line(
    w: Work[SubscriptionFacts], after: Subscription, plan: Plan, terms: Terms, at: datetime
) -> Line:
    until, part = after.current_period_end, spans.rest_of_period(after, at)
    if after is cycles.of(w):
        part = proration.rest_of_price(w.rows, at, part)
    span = spoken_span(at, until, after.zone)
    return Line(
        kind="plan",
        description=f"{plan.name}, {span}",
        quantity=Decimal(terms.quantity),
        unit_amount=Decimal(terms.unit_minor),
        amount_minor=proration.share(terms.amount_minor, part),
        period_start=at,
        period_end=until,
        detail={
            "price": str(terms.price_id),
            "of_minor": terms.amount_minor,
            "share": str(part),
        },
    )
