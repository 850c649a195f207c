"""Units of a cycle after a change of plan or seats: the old ones for the time before it. Pure."""

from datetime import datetime
from decimal import Decimal

from billing.catalog.plans.schemas import Plan
from billing.matters.effects import Work
from billing.money.subscriptions import cycles, items, proration, spans
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Portion


def of_plan(
    w: Work[SubscriptionFacts], plan: Plan, quantity: int, at: datetime
) -> tuple[Portion, ...]:
    """Beside the whole units of the new plan: the difference for the part that has passed."""
    subscription, own = cycles.of(w), w.facts.plan_of(w.rows)
    cycle = spans.parts(subscription, own.allowance).cycle
    passed = cycle - spans.rest_of_cycle(subscription, own.allowance, at)
    before, after = _included(own, items.plan_item(w).quantity), _included(plan, quantity)
    found = (
        Portion(
            meter=meter,
            units=proration.units_share(before.get(meter, Decimal(0)) - units, 1, passed),
        )
        for meter, units in after.items()
    )
    return tuple(one for one in found if one.units)


def _included(plan: Plan, quantity: int) -> dict[str, Decimal]:
    """Units of a whole cycle, by meter, for so many seats."""
    seats = quantity if plan.seats is not None and plan.seats.limits else 1
    return {one.meter: one.included * seats for one in plan.limits}
