"""Corrections of a cycle's included units after a change of plan or seats, for the time before it.
Pure.
"""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final

from billing.catalog.plans.schemas import Plan
from billing.catalog.rating.rules import EXACT
from billing.core.money import ZERO
from billing.matters.effects import Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import items, proration, shares
from billing.money.subscriptions.schemas import Portion

_LEVEL_STEP: Final = Decimal("0.000001")
"""Units of a level that stay beyond a plan are rounded to six decimals (usage_allotted.sql)."""


def of_plan(
    w: Work[SubscriptionFacts], plan: Plan, quantity: int, at: datetime, since: datetime
) -> tuple[Portion, ...]:
    """Return corrections of the new plan's whole units: the difference for the part elapsed at
    `at`, and the old plan's units from then until `since`, because it is charged until then.
    """
    subscription, own = subscription_of(w), w.facts.plan_of(w.rows)
    cycle = shares.of_cycle(subscription, own.allowance)
    passed = cycle - shares.rest_of_cycle(subscription, own.allowance, at)
    before, after = included(own, items.plan_item(w).quantity), included(plan, quantity)
    more = _own_units(w, at, since)
    found = []
    # A meter that the new plan does not limit may be limited by a later one of this cycle.
    for meter in before | after:
        less = before.get(meter, ZERO) - after.get(meter, ZERO)
        beside = proration.units_share(less, passed)
        found.append(Portion(meter=meter, units=beside + more.get(meter, ZERO)))
    return tuple(one for one in found if one.units)


def of_own(w: Work[SubscriptionFacts], start: datetime, end: datetime) -> tuple[Portion, ...]:
    """Return the old plan's units for time that it still bills, to add to the new plan's."""
    billed = _own_units(w, start, end).items()
    return tuple(Portion(meter=meter, units=n) for meter, n in billed if n)


def includes_as_much(w: Work[SubscriptionFacts], plan: Plan, quantity: int) -> bool:
    """True if the plan includes no fewer units of any meter than the subscription's own plan, and
    units beyond them are free wherever they are now.
    """
    free = {one.meter for one in w.facts.plan_of(w.rows).limits if one.then == "notify"}
    if any(one.meter in free and one.then != "notify" for one in plan.limits):
        return False
    return not _fewer(w, plan, quantity)


def used_share(w: Work[SubscriptionFacts], plan: Plan, quantity: int) -> Decimal:
    """Return the share of the cycle that counts as used, if the plan includes less of anything.

    For a level: the share of the units to be removed that its highest reading needed, in the time
    since the subscription's own plan began.
    """
    fewer, found = _fewer(w, plan, quantity), w.facts.used_share
    for level in w.facts.allowances:
        gone = fewer.get(level.meter, ZERO)
        if level.highest is not None and gone and level.spent - level.included + gone > 0:
            needed, before = (level.spent - level.included + gone) / gone, _before_plan(w)
            found = max(found, before + (1 - before) * min(Decimal(1), needed))
    return found


def stay_beyond(
    w: Work[SubscriptionFacts], plan: Plan, quantity: int, at: datetime
) -> dict[str, Decimal]:
    """Return the units of levels that were beyond the old plan in the elapsed part of the cycle,
    and that the new plan would include: for that part they stay beyond it.
    """
    own = included(w.facts.plan_of(w.rows), items.plan_item(w).quantity)
    after, found = included(plan, quantity), {}
    subscription = subscription_of(w)
    passed = 1 - proration.rest(subscription.cycle_start, subscription.cycle_end, at)
    for level in w.facts.allowances:
        more = after.get(level.meter, ZERO) - own.get(level.meter, ZERO)
        if level.highest is not None and more > 0:
            covered = min(more, max(ZERO, level.highest - level.included))
            with localcontext(EXACT):
                exact = covered * passed.numerator / passed.denominator
                found[level.meter] = exact.quantize(_LEVEL_STEP, ROUND_HALF_UP)
    return {meter: units for meter, units in found.items() if units}


def _before_plan(w: Work[SubscriptionFacts]) -> Decimal:
    """Return the share of the cycle elapsed when its plan began, by the newest plan line."""
    s = subscription_of(w)
    began = [line.period_start for line in proration.current(w.rows, (items.PLAN,), w.facts.at)]
    since = max((one for one in began if one is not None), default=s.cycle_start)
    left = proration.rest(s.cycle_start, s.cycle_end, max(s.cycle_start, since))
    return 1 - Decimal(left.numerator) / Decimal(left.denominator)


def lifts_limit(w: Work[SubscriptionFacts], plan: Plan) -> bool:
    """True if the plan does not limit some meter that the subscription's own plan limits."""
    limited = {one.meter for one in plan.limits}
    return any(one.meter not in limited for one in w.facts.plan_of(w.rows).limits)


def _fewer(w: Work[SubscriptionFacts], plan: Plan, quantity: int) -> dict[str, Decimal]:
    """Return how many units fewer the plan includes than the subscription's own plan, by meter.

    A meter of which it says nothing it has without end, unless products sell its use.
    """
    after, found = included(plan, quantity), dict[str, Decimal]()
    for meter, units in included(w.facts.plan_of(w.rows), items.plan_item(w).quantity).items():
        if meter in after or meter in w.facts.sold_meters:
            found[meter] = units - after.get(meter, ZERO)
    return {meter: units for meter, units in found.items() if units > 0}


def _own_units(w: Work[SubscriptionFacts], start: datetime, end: datetime) -> dict[str, Decimal]:
    """Return the own plan's units for that part of the cycle, by meter."""
    subscription, own = subscription_of(w), w.facts.plan_of(w.rows)
    left = shares.rest_of_cycle(subscription, own.allowance, start)
    part = left - shares.rest_of_cycle(subscription, own.allowance, end)
    whole = included(own, items.plan_item(w).quantity)
    return {meter: proration.units_share(units, part) for meter, units in whole.items()}


def included(plan: Plan, quantity: int) -> dict[str, Decimal]:
    """Return the units of a whole cycle, by meter, for that many seats."""
    seats = quantity if plan.seats is not None and plan.seats.limits else 1
    return {one.meter: one.included * seats for one in plan.limits}
