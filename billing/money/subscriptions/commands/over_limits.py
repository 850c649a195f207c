"""The meters of which a cycle has used more than the plan of a change includes. Pure."""

from collections import defaultdict
from decimal import Decimal

from billing.matters.effects import Work
from billing.money.subscriptions.commands import add_ons
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import portions
from billing.money.subscriptions.previews.deciding import OverLimit
from billing.money.subscriptions.schemas import SubscriptionChange


def over_limits(
    w: Work[SubscriptionFacts], change: SubscriptionChange | None
) -> tuple[OverLimit, ...]:
    """Return the meters that the current plan limits and of which the cycle used more than the next
    plan includes. A limit agreed with the account applies under every plan.
    """
    if change is None or change.kind != "plan":
        return ()
    terms = change.new_terms
    plan = w.facts.plans[terms.plan_id]
    wanted = terms.add_ons
    if wanted is None:
        wanted = add_ons.staying(w, plan, terms.interval)
    given = defaultdict(Decimal, portions.included(plan, terms.quantity))
    for one in plan.add_ons:
        given[one.meter] += one.units * wanted.get(one.key, 0)
    used = {one.meter: one.quantity for one in w.facts.allowances if not one.is_agreed}
    return tuple(
        OverLimit(meter=one.meter, used=used[one.meter], included=given[one.meter], then=one.then)
        for one in plan.limits
        if used.get(one.meter, 0) > given[one.meter]
    )
