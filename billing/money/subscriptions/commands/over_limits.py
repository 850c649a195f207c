"""The meters of which a cycle has used more than the plan of a change includes. Pure."""

from collections import defaultdict
from decimal import Decimal

from billing.matters.effects import Change, Effect, Work
from billing.money.subscriptions.commands import add_ons
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import portions
from billing.money.subscriptions.previews.deciding import OverLimit
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange, Terms
from billing.money.subscriptions.terms import new_terms


def over_limits(
    w: Work[SubscriptionFacts], change: SubscriptionChange | None
) -> tuple[OverLimit, ...]:
    """Return the meters that the current plan limits and of which the cycle used more than the next
    plan includes. A limit agreed with the account applies under every plan.
    """
    terms = _next_terms(w, change)
    if terms is None:
        return ()
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


def _next_terms(w: Work[SubscriptionFacts], change: SubscriptionChange | None) -> Terms | None:
    """Return the terms that a change brings; None: it is no change of plan."""
    if change is not None:
        return change.new_terms if change.kind == "plan" else None
    in_trial = subscription_of(w).status == "trialing"
    if not (in_trial and any(map(_is_of_plan, w.effects))):
        return None
    # Within a trial it needs no row of its own, and add-ons include nothing before its end.
    return new_terms.of_now(w).model_copy(update={"add_ons": {}})


def _is_of_plan(effect: Effect) -> bool:
    return (
        isinstance(effect, Change)
        and effect.row_type is Subscription
        and "plan_id" in effect.fields
    )
