"""Add-ons: extra units of a meter in every cycle, bought on top of a plan [B8]. Pure.

More of one counts from now on and is charged at once, at its whole price; less of one counts from
the next period.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from billing.catalog.plans.schemas import AddOn
from billing.core.errors import Conflict, NotFound
from billing.matters.effects import Work
from billing.money.invoices.schemas import Line
from billing.money.subscriptions import cycles
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands import wake
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Item, Subscription
from billing.money.subscriptions.states import demand, takes

ADD_ON = "add_on"
"""The kind of an item, and of the lines that bill it."""


class More(NamedTuple):
    """An add-on of which more is wanted than there is."""

    add_on: AddOn
    have: int
    want: int


def choose(w: Work[SubscriptionFacts], wanted: Mapping[str, int]) -> Subscription:
    """Have exactly these add-ons, by key; what is not named ends with the period.

    Errors: SUBSCRIPTION_STATE, PAYMENT_OVERDUE; ADD_ON_NOT_FOUND; ADD_ON_NOT_OFFERED.
    """
    subscription, plan = cycles.of(w), w.facts.plan
    held = {item.add_on: item for item in w.rows.of(Item) if item.add_on is not None}
    offered = {one.key: one for one in plan.add_ons}
    if unknown := sorted(wanted.keys() - offered.keys() - held.keys()):
        raise NotFound("ADD_ON_NOT_FOUND", f"plan {plan.key} has no add-on {unknown[0]!r}")
    if wanted == {key: item.lasting for key, item in held.items() if item.lasting}:
        return subscription
    more: list[More] = []
    for key, add_on in offered.items():
        have = held[key].quantity if key in held else 0
        if wanted.get(key, 0) > have:
            more.append(More(add_on, have, wanted[key]))
    if more:
        _demand_more(w, [one.add_on for one in more])
    for item in held.values():
        _keep(w, item, wanted.get(item.add_on or "", 0))
    for add_on, _, want in more:
        _put(w, add_on, want, held.get(add_on.key))
    cycles.follow(w)
    if more:
        lines = [_line(subscription, one) for one in more]
        suffix = ",".join(f"{one.add_on.key}-{one.want}" for one in more)
        cycles.bill_now(w, lines, f"add-ons-{suffix}")
    announce(w, subscription, "add_ons_chosen", add_ons=dict(wanted))
    return wake(w)


def _demand_more(w: Work[SubscriptionFacts], add_ons: list[AddOn]) -> None:
    subscription, plan = cycles.of(w), w.facts.plan
    demand(subscription.status, "change_up")
    if "change_up" not in takes(subscription.status):
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "more of an add-on can be bought only while the subscription is active",
            state=subscription.status,
            takes=takes(subscription.status),
        )
    for add_on in add_ons:
        if subscription.currency not in add_on.prices:
            raise Conflict(
                "ADD_ON_NOT_OFFERED", f"{add_on.key} has no price in {subscription.currency}"
            )
        if plan.allowance != subscription.interval:
            raise Conflict(
                "ADD_ON_NOT_OFFERED", f"{add_on.key} is sold where each cycle is a period"
            )


def _keep(w: Work[SubscriptionFacts], item: Item, want: int) -> None:
    """As many as there are stay for the period; fewer from the next one on."""
    if want > item.quantity:
        return
    if want < item.quantity:
        demand(cycles.of(w).status, "change_down")
    w.change(item, next_quantity=want if want < item.quantity else None)


def _put(w: Work[SubscriptionFacts], add_on: AddOn, quantity: int, held: Item | None) -> None:
    """Have so many of an add-on from now on."""
    subscription = cycles.of(w)
    if held is not None:
        w.change(held, quantity=quantity, next_quantity=None)
        return
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


def _line(subscription: Subscription, more: More) -> Line:
    quantity = more.want - more.have
    amount_minor = more.add_on.prices[subscription.currency]
    until = subscription.current_period_end
    return Line(
        kind=ADD_ON,
        description=f"{more.add_on.name}, from now to {until:%-d %b %Y}",
        quantity=Decimal(quantity),
        unit_amount=Decimal(amount_minor),
        amount_minor=amount_minor * quantity,
        detail={"add_on": more.add_on.key, "meter": more.add_on.meter},
    )
