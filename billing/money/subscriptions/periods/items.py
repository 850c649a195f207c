"""The items of a subscription as they change: more at once, fewer with the next period. Pure."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from billing.catalog.plans.rules import is_too_dear, show_interval
from billing.catalog.plans.schemas import AddOn, Plan
from billing.core.errors import Conflict
from billing.core.periods import Interval
from billing.matters.effects import Rows, Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.schemas import Item, Subscription

PLAN: Final = "plan"
ADD_ON: Final = "add_on"
"""Kinds of items, and of the lines that bill them."""


class More(NamedTuple):
    """An add-on of which more is wanted than the subscription has."""

    add_on: AddOn
    have: int
    want: int


def plan_item(w: Work[SubscriptionFacts]) -> Item:
    """Return the plan itself, with its seats."""
    return next(item for item in w.rows.of(Item) if item.kind == PLAN)


def told(w: Work[SubscriptionFacts]) -> dict[str, Any]:
    """Return what is sold beside the plan's key, as events tell it."""
    subscription = subscription_of(w)
    return {
        "interval": show_interval(subscription.interval),
        "quantity": plan_item(w).quantity,
        "currency": subscription.currency,
    }


def credits_of(w: Work[SubscriptionFacts]) -> Decimal:
    """Return the plan's credits of a whole cycle, for all its seats."""
    return seats_credits(w.facts.plan_of(w.rows), plan_item(w).lasting)


def seats_credits(plan: Plan, quantity: int) -> Decimal:
    """Return the credits of a whole cycle for that many seats."""
    each = plan.seats is not None and plan.seats.credits
    return plan.monthly_credits * quantity if each else plan.monthly_credits


def sells(plan: Plan, quantity: int) -> bool:
    """True if the plan is sold with that many seats."""
    if plan.seats is None:
        # Its limits and credits are those of one: more would cost more and give nothing.
        return quantity == 1
    return plan.seats.least <= quantity <= plan.seats.most


def demand_seats(plan: Plan, quantity: int) -> None:
    """Refuse a number of seats that the plan does not sell. Errors: QUANTITY_NOT_OFFERED."""
    if sells(plan, quantity):
        return
    if plan.seats is None:
        raise Conflict("QUANTITY_NOT_OFFERED", f"plan {plan.key} is sold with a quantity of 1 only")
    span = f"{plan.seats.least} to {plan.seats.most}"
    raise Conflict("QUANTITY_NOT_OFFERED", f"plan {plan.key} is sold with {span} seats")


def demand_bounded_price(unit_minor: int, quantity: int) -> None:
    """Refuse a price of a period that is no sum of money here. Errors: PRICE_TOO_LARGE."""
    if is_too_dear(unit_minor, quantity):
        raise Conflict("PRICE_TOO_LARGE")


def next_period_price(rows: Rows, agreed_minor: int | None = None) -> int:
    """Return the price of a whole next period, with its add-ons, before discounts and tax.

    A unit of the plan costs `agreed_minor` then, if that is given.
    """
    return sum(
        item.lasting
        * (agreed_minor if item.kind == PLAN and agreed_minor is not None else item.amount_minor)
        for item in rows.of(Item)
    )


def owned(w: Work[SubscriptionFacts]) -> dict[str, Item]:
    """Return the subscription's add-ons, by key."""
    return {item.add_on: item for item in w.rows.of(Item) if item.add_on is not None}


def more(w: Work[SubscriptionFacts], plan: Plan, wanted: Mapping[str, int]) -> list[More]:
    """Return the add-ons of which more is wanted than the subscription has on the plan's terms."""
    have = {key: item.quantity for key, item in owned_on_terms(w, plan.add_ons).items()}
    return [
        More(one, have.get(one.key, 0), wanted[one.key])
        for one in plan.add_ons
        if wanted.get(one.key, 0) > have.get(one.key, 0)
    ]


def owned_on_terms(w: Work[SubscriptionFacts], sold: Collection[AddOn]) -> dict[str, Item]:
    """Return the subscription's add-ons that are sold on the same terms, by key."""
    currency = subscription_of(w).currency
    terms = {one.key: (one.meter, one.units, one.prices.get(currency)) for one in sold}
    return {
        key: item
        for key, item in owned(w).items()
        if terms.get(key) == (item.meter, item.units, item.amount_minor)
    }


def sold(
    w: Work[SubscriptionFacts], plan: Plan, interval: Interval, wanted: Mapping[str, int]
) -> dict[str, int]:
    """Return the wanted add-ons that a plan sells to this subscription at this interval."""
    currency = subscription_of(w).currency
    here = plan.add_ons if plan.allowance == interval else ()
    keys = {one.key for one in here if currency in one.prices}
    return {key: quantity for key, quantity in wanted.items() if key in keys}


def standing(items: Sequence[Item], subscription: Subscription) -> list[Item]:
    """Return the add-ons with the quantities that count now: in a trial none, because they begin
    with the period after it.
    """
    add_ons = [item for item in items if item.add_on is not None]
    if subscription.status != "trialing":
        return add_ons
    return [
        item.model_copy(update={"quantity": 0, "next_quantity": item.lasting}) for item in add_ons
    ]


def choose(
    w: Work[SubscriptionFacts], wanted: Mapping[str, int], *, fewer_now: bool = False
) -> None:
    """Set exactly these add-ons: more from now on, fewer from the next period or at once.

    An item that the plan now sells on other terms is replaced; one that it does not sell
    ends with the period.
    """
    plan = w.facts.plan_of(w.rows)
    found = more(w, plan, wanted)
    anew = {one.add_on.key for one in found if not one.have}
    staying = owned_on_terms(w, plan.add_ons)
    for key, item in owned(w).items():
        want = wanted.get(key, 0)
        if key in anew or (fewer_now and not want):
            w.remove(item)
            continue
        quantity = min(want, item.quantity) if fewer_now else item.quantity
        lasting = want if key in staying else 0
        w.change(item, quantity=quantity, next_quantity=lasting if lasting < quantity else None)
    for add_on, _, want in found:
        _put(w, add_on, want)


def end_others(w: Work[SubscriptionFacts], sold: Collection[AddOn], *, at_once: bool) -> None:
    """End add-ons that are not sold on the same terms: with the period, or at once."""
    staying = owned_on_terms(w, sold)
    for key, item in owned(w).items():
        if key in staying:
            continue
        if at_once:
            w.remove(item)
        else:
            w.change(item, next_quantity=0)


def keep(w: Work[SubscriptionFacts]) -> None:
    """Cancel reductions of add-ons for the next period: the change being scheduled replaces them.

    Add-ons no longer sold on these terms still end.
    """
    for item in owned_on_terms(w, w.facts.plan_of(w.rows).add_ons).values():
        w.change(item, next_quantity=None)


def apply_next_quantities(w: Work[SubscriptionFacts]) -> None:
    """Apply the quantities that were set for the period that begins."""
    for item in w.rows.of(Item):
        if item.next_quantity == 0:
            w.remove(item)
        elif item.next_quantity is not None:
            w.change(item, quantity=item.next_quantity, next_quantity=None)


def _put(w: Work[SubscriptionFacts], add_on: AddOn, quantity: int) -> None:
    """Set the quantity of an add-on from now on."""
    item = owned(w).get(add_on.key)
    if item is not None:
        w.change(item, quantity=quantity, next_quantity=None)
        return
    subscription = subscription_of(w)
    item = Item(
        id=w.facts.new_id(),
        account_id=subscription.account_id,
        subscription_id=subscription.id,
        kind=ADD_ON,
        quantity=quantity,
        description=add_on.name,
        amount_minor=add_on.prices[subscription.currency],
        add_on=add_on.key,
        meter=add_on.meter,
        units=add_on.units,
    )
    w.add(item)
