"""The notices that a trial ends soon, or that a long period renews. Pure."""

from datetime import timedelta

from billing.catalog.plans.rules import SERVED, show_interval
from billing.catalog.plans.schemas import Plan
from billing.matters.agenda import Step
from billing.matters.effects import Work
from billing.money.subscriptions.announcements import HOW_TO_CANCEL, announce
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import items
from billing.money.subscriptions.rules import Notice
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.terms import scheduling


def to_come(row: Subscription, plan: Plan) -> tuple[Notice, ...]:
    """Return the notices of the period's end that its customer has not had, in order.

    One whose day lies before the period is due at its start.
    """
    if row.status not in SERVED:
        return ()
    begins, ends = row.current_period_start, row.current_period_end
    in_trial = row.status == "trialing"
    days = plan.notices.trial if in_trial else plan.notices.renewal_of(ends - begins)
    known = (Notice(days=one, due=max(ends - timedelta(days=one), begins)) for one in days)
    return tuple(one for one in known if row.told_until is None or one.due > row.told_until)


def notify(w: Work[SubscriptionFacts], step: Step) -> None:
    """Tell when the trial or period ends, what the next one costs, and how to cancel."""
    row = subscription_of(w)
    *_, notice = (one for one in to_come(row, w.facts.plan_of(w.rows)) if one.due <= step.due)
    told = w.change(row, told_until=notice.due)
    first = scheduling.coming(w, told.current_period_end)
    announce(
        w,
        told,
        "trial_ending" if told.status == "trialing" else "renewal_upcoming",
        days_ahead=notice.days,
        of_plan=subscription_of(first).plan_key,
        interval=show_interval(subscription_of(first).interval),
        price_cents=items.next_period_price(first.rows),
        currency=told.currency,
        how_to_cancel=HOW_TO_CANCEL,
    )
    w.result = f"{notice.days} days before {told.current_period_end.isoformat()}"
