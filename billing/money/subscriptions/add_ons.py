"""Add-ons: extra units of a meter in every cycle, bought on top of a plan [B8]. Pure.

More of one is charged first, at its whole price, and counts once it is paid; less of one counts
from the next period. In a trial and in a pause more costs and gives nothing yet: the next period
bills it and begins with it.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from billing.catalog.plans.schemas import AddOn
from billing.core.errors import Conflict, NotFound
from billing.matters.effects import Work
from billing.money.invoices.schemas import Line
from billing.money.subscriptions import changes, cycles, items, payment_effects
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands import wake
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.items import More
from billing.money.subscriptions.schemas import Paying, Subscription
from billing.money.subscriptions.states import demand


def choose(
    w: Work[SubscriptionFacts],
    wanted: Mapping[str, int],
    paying: Paying,
    as_of: datetime | None = None,
) -> Subscription:
    """Have exactly these add-ons, by key; what is not named ends with the period.

    `as_of` is the instant of a preview.

    Errors: SUBSCRIPTION_STATE, PAYMENT_OVERDUE, CHANGE_PENDING; ADD_ON_NOT_FOUND,
    ADD_ON_NOT_OFFERED; those of `changes.begin`.
    """
    subscription, plan, held = cycles.of(w), w.facts.plan_of(w.rows), items.held(w)
    reply = demand(subscription.status, "change_down")
    known = {one.key for one in plan.add_ons} | held.keys()
    if unknown := sorted(wanted.keys() - known):
        raise NotFound("ADD_ON_NOT_FOUND", f"plan {plan.key} has no add-on {unknown[0]!r}")
    if wanted == {key: item.lasting for key, item in held.items() if item.lasting}:
        return subscription
    more = items.more(w, wanted)
    if more:
        reply = demand(subscription.status, "change_up")
        _demand_offered(w, [one.add_on for one in more])
    changes.demand_none(w.rows)
    if more and reply == "yes" and subscription.status != "trialing":
        _charge(w, wanted, more, paying, as_of or w.facts.at)
        return wake(w)
    items.choose(w, wanted)
    cycles.follow(w)
    announce(w, subscription, "add_ons_chosen", add_ons=dict(wanted))
    return wake(w)


def _charge(
    w: Work[SubscriptionFacts],
    wanted: Mapping[str, int],
    more: list[More],
    paying: Paying,
    at: datetime,
) -> None:
    """The change waits for its payment; one too small for a card is carried and applied now."""
    lines = [_line(cycles.of(w), one, at) for one in more]
    invoice = cycles.draft_change(w, paying.change_id, lines)
    invoice = changes.begin(w, "add_ons", dict(wanted), invoice, paying)
    payment_effects.settle_small(w, invoice)


def _demand_offered(w: Work[SubscriptionFacts], add_ons: list[AddOn]) -> None:
    subscription, plan = cycles.of(w), w.facts.plan_of(w.rows)
    for add_on in add_ons:
        if subscription.currency not in add_on.prices:
            raise Conflict(
                "ADD_ON_NOT_OFFERED", f"{add_on.key} has no price in {subscription.currency}"
            )
        if plan.allowance != subscription.interval:
            raise Conflict(
                "ADD_ON_NOT_OFFERED", f"{add_on.key} is sold where each cycle is a period"
            )


def _line(subscription: Subscription, more: More, at: datetime) -> Line:
    quantity = more.want - more.have
    amount_minor = more.add_on.prices[subscription.currency]
    until = subscription.current_period_end
    return Line(
        kind=items.ADD_ON,
        description=f"{more.add_on.name}, from now to {until:%-d %b %Y}",
        quantity=Decimal(quantity),
        unit_amount=Decimal(amount_minor),
        amount_minor=amount_minor * quantity,
        period_start=at,
        period_end=until,
        detail={"add_on": more.add_on.key, "meter": more.add_on.meter},
    )
