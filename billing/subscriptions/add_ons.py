"""Add-ons: extra units of a meter in every cycle, bought on top of a plan [B8].

More of one counts from now on and is charged at once, at its whole price; less of one counts from
the next period.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.schemas import AddOn, Plan
from billing.core import matters
from billing.core.errors import Conflict, NotFound
from billing.invoices.schemas import Line
from billing.subscriptions import cycles, notes, store
from billing.subscriptions.schemas import Item, Subscription
from billing.subscriptions.states import demand
from billing.usage import store as usage

ADD_ON = "add_on"
"""The kind of an item, and of the lines that bill it."""


async def choose(
    connection: AsyncConnection, subscription_id: UUID, wanted: Mapping[str, int], at: datetime
) -> Subscription:
    """Have exactly these add-ons, by key; what is not named ends with the period.

    Errors: SUBSCRIPTION_STATE, PAYMENT_OVERDUE; ADD_ON_NOT_FOUND; ADD_ON_NOT_OFFERED.
    """
    subscription = await store.get(connection, subscription_id, lock=True)
    plan = await cycles.plan_of(connection, subscription)
    held = {item.add_on: item for item in await store.add_ons(connection, subscription.id)}
    offered = {one.key: one for one in plan.add_ons}
    if unknown := sorted(wanted.keys() - offered.keys() - held.keys()):
        raise NotFound("ADD_ON_NOT_FOUND", f"plan {plan.key} has no add-on {unknown[0]!r}")
    if wanted == {key: item.lasting for key, item in held.items() if item.lasting}:
        return subscription
    more: list[tuple[AddOn, int, int]] = []
    for key, add_on in offered.items():
        have = held[key].quantity if key in held else 0
        if wanted.get(key, 0) > have:
            more.append((add_on, have, wanted[key]))
    if more:
        _demand_more(subscription, plan, [add_on for add_on, _, _ in more])
    for item in held.values():
        await _keep(connection, subscription, item, wanted.get(item.add_on or "", 0))
    lines = []
    for add_on, have, want in more:
        lines.append(_line(subscription, add_on, want - have))
        await store.put_add_on(connection, subscription, add_on, want)
    await usage.follow(connection, subscription.account_id, max(at, subscription.cycle_start))
    if lines:
        mark = ",".join(f"{add_on.key}-{want}" for add_on, _, want in more)
        await cycles.bill_now(connection, subscription, lines, f"add-ons-{mark}", at)
    await notes.announce(connection, subscription, "add_ons_chosen", at, add_ons=dict(wanted))
    await matters.wake(connection, matters.workflow_id("subscription", subscription.id), at)
    return subscription


def _demand_more(subscription: Subscription, plan: Plan, add_ons: list[AddOn]) -> None:
    demand(subscription.status, "change_up")
    if subscription.status != "active":
        raise Conflict(
            "SUBSCRIPTION_STATE", "add-ons are bought while it is active", state=subscription.status
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


async def _keep(
    connection: AsyncConnection, subscription: Subscription, item: Item, want: int
) -> None:
    """As many as there are stay for the period; fewer from the next one on."""
    if want > item.quantity:
        return
    if want < item.quantity:
        demand(subscription.status, "change_down")
    await store.set_next_quantity(connection, item.id, want if want < item.quantity else None)


def _line(subscription: Subscription, add_on: AddOn, quantity: int) -> Line:
    amount_minor = add_on.prices[subscription.currency]
    until = subscription.current_period_end
    return Line(
        kind=ADD_ON,
        description=f"{add_on.name}, from now to {until:%-d %b %Y}",
        quantity=Decimal(quantity),
        unit_amount=Decimal(amount_minor),
        amount_minor=amount_minor * quantity,
        detail={"add_on": add_on.key, "meter": add_on.meter},
    )
