"""The terms that a wish for another plan, interval or number of seats asks for. Pure."""

from collections.abc import Mapping
from typing import Any

from billing.catalog.plans.rules import show_interval
from billing.catalog.plans.schemas import Plan
from billing.core import ids
from billing.core.errors import Conflict, NotFound
from billing.core.periods import Interval
from billing.matters.effects import Work
from billing.money.subscriptions.commands import add_ons
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import items
from billing.money.subscriptions.schemas import Offered, PlanWish, Subscription, Terms
from billing.money.subscriptions.terms import agreements


def asked_for(w: Work[SubscriptionFacts], wish: PlanWish) -> Terms:
    """Return the requested terms; terms that the wish does not name stay as they were sold."""
    subscription, seats = subscription_of(w), items.plan_item(w)
    interval = wish.interval or subscription.interval
    plan, price_id = w.facts.plan_of(w.rows), subscription.price_id
    unit_minor = seats.amount_minor
    minimum_minor = subscription.minimum_minor
    if _names_another(w, wish) or interval != subscription.interval:
        offered = _offered(w, interval)
        if offered.price is None:
            raise RuntimeError("an offer that is chosen has a price")
        plan, price_id, unit_minor = offered.plan, offered.price.id, offered.price.amount_minor
        minimum_minor = offered.price.minimum_minor
    # A plan without seats is sold once, so the wish need not say so.
    quantity = wish.quantity or (seats.quantity if plan.seats is not None else 1)
    items.demand_seats(plan, quantity)
    items.demand_bounded_price(unit_minor, quantity)
    if wish.add_ons is not None:
        _demand_sold(w, plan, interval, wish.add_ons)
    return Terms(
        plan_id=plan.id,
        price_id=price_id,
        unit_minor=unit_minor,
        interval=interval,
        quantity=quantity,
        minimum_minor=minimum_minor,
        add_ons=wish.add_ons,
        fewer_now=wish.when == "now",
    )


def _demand_sold(
    w: Work[SubscriptionFacts], plan: Plan, interval: Interval, wanted: Mapping[str, int]
) -> None:
    """Refuse add-ons that the plan does not have or sell. Errors: ADD_ON_NOT_FOUND,
    ADD_ON_NOT_OFFERED, PRICE_TOO_LARGE.
    """
    own = plan.id == subscription_of(w).plan_id
    add_ons.demand_known(plan, wanted, items.owned(w) if own else {})
    asked = [one for one in plan.add_ons if one.key in wanted]
    add_ons.demand_offered(w, plan, interval, asked, wanted)


def _names_another(w: Work[SubscriptionFacts], wish: PlanWish) -> bool:
    """True if the wish names a plan, by key or id, that is not the subscription's own."""
    own, offers = w.facts.plan_of(w.rows), w.facts.offers
    # Its own version may be off sale.
    if wish.plan is None or own.id == ids.parse(ids.PLAN, wish.plan):
        return False
    return wish.plan != own.key and not (offers and offers[0].plan.key == own.key)


def _offered(w: Work[SubscriptionFacts], interval: Interval) -> Offered:
    """Return the requested plan, with its price per interval."""
    offers, currency = w.facts.offers, subscription_of(w).currency
    if not offers:
        raise NotFound("PLAN_NOT_FOUND", "no such plan is on sale")
    plan = offers[0].plan
    sold = {one.price.interval: one for one in offers if one.price is not None}
    sold |= agreements.offers(w, plan)
    if not sold:
        raise Conflict("CURRENCY_MISMATCH", f"plan {plan.key} has no price in {currency}")
    if interval not in sold:
        known = ", ".join(sorted(show_interval(one) for one in sold if one is not None))
        raise Conflict(
            "INTERVAL_NOT_OFFERED",
            f"plan {plan.key} is not sold at this interval; available: {known}",
        )
    return sold[interval]


def is_up(subscription: Subscription, terms: Terms) -> bool:
    """True for a longer interval, or for the same interval at a price that is not lower."""
    before, after = subscription.interval.average_days, terms.interval.average_days
    return (after, terms.amount_minor) >= (before, subscription.amount_minor)


def goes_on_in_trial(w: Work[SubscriptionFacts], terms: Terms) -> bool:
    """True in a trial for a plan that has one: the trial goes on with it."""
    return subscription_of(w).status == "trialing" and plan_of(w, terms).trial_days > 0


def is_same(w: Work[SubscriptionFacts], terms: Terms) -> bool:
    subscription = subscription_of(w)
    return (subscription.plan_id, subscription.price_id, items.plan_item(w).quantity) == (
        terms.plan_id,
        terms.price_id,
        terms.quantity,
    )


def shown(w: Work[SubscriptionFacts], terms: Terms) -> dict[str, Any]:
    """Return the requested terms, as callers see them."""
    return {
        "plan": plan_of(w, terms).key,
        "interval": show_interval(terms.interval),
        "quantity": terms.quantity,
    } | ({"add_ons": terms.add_ons} if terms.add_ons is not None else {})


def plan_of(w: Work[SubscriptionFacts], terms: Terms) -> Plan:
    return w.facts.plans[terms.plan_id]
