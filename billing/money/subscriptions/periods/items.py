"""The items of a subscription as they become: more at once, less with the next period. Pure."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from billing.catalog.plans.schemas import AddOn, Plan
from billing.core.errors import Conflict
from billing.core.periods import Interval
from billing.matters.effects import Work
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Item, Subscription

PLAN: Final = "plan"
ADD_ON: Final = "add_on"
"""Kinds of items, and of the lines that bill them."""


class More(NamedTuple):
    """An add-on of which more is wanted than there is."""

    add_on: AddOn
    have: int
    want: int


def plan_item(w: Work[SubscriptionFacts]) -> Item:
    """The plan itself, with its seats."""
    return next(item for item in w.rows.of(Item) if item.kind == PLAN)


def credits_of(w: Work[SubscriptionFacts]) -> Decimal:
    """The plan's credits of a whole cycle, of all its seats."""
    return seats_credits(w.facts.plan_of(w.rows), plan_item(w).lasting)


def seats_credits(plan: Plan, quantity: int) -> Decimal:
    """The credits of a whole cycle for so many seats."""
    each = plan.seats is not None and plan.seats.credits
    return plan.monthly_credits * quantity if each else plan.monthly_credits


def sells(plan: Plan, quantity: int) -> bool:
    """True if the plan is sold with so many seats."""
    if plan.seats is None:
        # Its limits and credits are those of one: more would cost more and give nothing.
        return quantity == 1
    return plan.seats.least <= quantity <= plan.seats.most


def demand_seats(plan: Plan, quantity: int) -> None:
    """Error: QUANTITY_NOT_OFFERED."""
    if sells(plan, quantity):
        return
    if plan.seats is None:
        raise Conflict("QUANTITY_NOT_OFFERED", f"plan {plan.key} is sold once per subscription")
    span = f"{plan.seats.least} to {plan.seats.most}"
    raise Conflict("QUANTITY_NOT_OFFERED", f"plan {plan.key} is sold with {span} seats")


def held(w: Work[SubscriptionFacts]) -> dict[str, Item]:
    """The add-ons there are, by key."""
    return {item.add_on: item for item in w.rows.of(Item) if item.add_on is not None}


def more(w: Work[SubscriptionFacts], plan: Plan, wanted: Mapping[str, int]) -> list[More]:
    """The add-ons of a plan of which more is wanted than there is on its terms."""
    currency = w.rows.get(Subscription, w.facts.subscription_id).currency
    have = {
        one.key: item.quantity
        for one in plan.add_ons
        if (item := held(w).get(one.key)) and is_on_terms(item, one, currency)
    }
    return [
        More(one, have.get(one.key, 0), wanted[one.key])
        for one in plan.add_ons
        if wanted.get(one.key, 0) > have.get(one.key, 0)
    ]


def is_on_terms(item: Item, add_on: AddOn, currency: str) -> bool:
    """True if the plan sells now what the item was sold as."""
    sold_as = (item.meter, item.units, item.amount_minor)
    return sold_as == (add_on.meter, add_on.units, add_on.prices.get(currency))


def sold(
    w: Work[SubscriptionFacts], plan: Plan, interval: Interval, wanted: Mapping[str, int]
) -> dict[str, int]:
    """Those of the wanted add-ons that a plan sells to this subscription, per such an interval."""
    currency = w.rows.get(Subscription, w.facts.subscription_id).currency
    here = plan.add_ons if plan.allowance == interval else ()
    keys = {one.key for one in here if currency in one.prices}
    return {key: quantity for key, quantity in wanted.items() if key in keys}


def standing(items: Sequence[Item], subscription: Subscription) -> list[Item]:
    """The add-ons as they count now: those of a trial begin with the first period after it."""
    add_ons = [item for item in items if item.add_on is not None]
    if subscription.status != "trialing":
        return add_ons
    return [
        item.model_copy(update={"quantity": 0, "next_quantity": item.lasting}) for item in add_ons
    ]


def choose(
    w: Work[SubscriptionFacts], wanted: Mapping[str, int], *, fewer_now: bool = False
) -> None:
    """Have exactly these add-ons: more from now on, less from the next period or at once.

    One that the plan sells on other terms by now gives way to what it is sold as.
    """
    found = more(w, w.facts.plan_of(w.rows), wanted)
    anew = {one.add_on.key for one in found if not one.have}
    for key, item in held(w).items():
        want = wanted.get(key, 0)
        if key in anew or (fewer_now and not want):
            w.remove(item)
        elif want >= item.quantity or not fewer_now:
            w.change(item, next_quantity=want if want < item.quantity else None)
        else:
            w.change(item, quantity=want, next_quantity=None)
    for add_on, _, want in found:
        _put(w, add_on, want)


def end_others(
    w: Work[SubscriptionFacts], sold: Collection[AddOn], before: Plan, *, at_once: bool
) -> None:
    """Add-ons that are not sold on the same terms end: with the period, or at once."""
    terms = {one.key: one for one in before.add_ons}
    for key, item in held(w).items():
        if terms.get(key) in sold:
            continue
        if at_once:
            w.remove(item)
        else:
            w.change(item, next_quantity=0)


def keep(w: Work[SubscriptionFacts]) -> None:
    """Those of which fewer were to stay do not go: what is scheduled now says what there will be.

    Add-ons that the plan does not sell so any more end all the same.
    """
    subscription = w.rows.get(Subscription, w.facts.subscription_id)
    terms = {one.key: one for one in w.facts.plan_of(w.rows).add_ons}
    for key, item in held(w).items():
        if key in terms and is_on_terms(item, terms[key], subscription.currency):
            w.change(item, next_quantity=None)


def turn(w: Work[SubscriptionFacts]) -> None:
    """A period begins: what was to end with the one before has ended."""
    for item in w.rows.of(Item):
        if item.next_quantity == 0:
            w.remove(item)
        elif item.next_quantity is not None:
            w.change(item, quantity=item.next_quantity, next_quantity=None)


def _put(w: Work[SubscriptionFacts], add_on: AddOn, quantity: int) -> None:
    """Have so many of an add-on from now on."""
    item = held(w).get(add_on.key)
    if item is not None:
        w.change(item, quantity=quantity, next_quantity=None)
        return
    subscription = w.rows.get(Subscription, w.facts.subscription_id)
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
