"""The next period of a subscription: it begins with its invoice, and in a new zone. Pure."""

from datetime import datetime

from billing.core import periods
from billing.matters.effects import Work
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import cycles, invoicing, items, spans, true_ups
from billing.money.subscriptions.schemas import Subscription


def follow_zone(w: Work[SubscriptionFacts]) -> None:
    """Apply a new zone of the account from the next period on.

    The zone waits while a later instant is agreed by the calendar of the previous one.
    """
    subscription, zone = subscription_of(w), w.facts.account_zone
    if zone is None or zone == subscription.zone:
        return
    if _is_agreed_after(w, subscription, subscription.current_period_end):
        return
    fields = spans.in_zone(subscription, zone)
    if fields is not None and not _is_same_month(subscription, zone):
        cycles.change(w, **fields)


def zone_anew(w: Work[SubscriptionFacts], start: datetime, amount_minor: int) -> str:
    """Return the zone of a period for this price that begins anew at `start`, by a resumption or a
    change: the account's, unless that waits.

    For a plan that costs nothing it waits for the next period: its month is granted already, or
    counts what was used before.
    """
    subscription, zone = subscription_of(w), w.facts.account_zone
    if zone is None or not amount_minor or _is_agreed_after(w, subscription, start):
        return subscription.zone
    return zone


def _is_same_month(s: Subscription, zone: str) -> bool:
    """True if a free plan's next period would begin, in that zone, in the month of this one: a free
    plan grants its credits once a month, and that month's are granted.
    """
    first, then = (
        periods.to_wall(at, where)
        for at, where in ((s.cycle_start, s.zone), (s.current_period_end, zone))
    )
    return not s.amount_minor and (first.year, first.month) == (then.year, then.month)


def _is_agreed_after(w: Work[SubscriptionFacts], s: Subscription, begins: datetime) -> bool:
    """True if a contract begins or ends, a commitment or the subscription ends, after the instant
    at which a period begins.

    In another zone such an instant could lie within a period: it would cut that short, or be
    missed.
    """
    contracts = w.facts.contracts
    agreed = {
        s.cancel_at,
        *(at for one in contracts for at in (one.effective_from, one.effective_to)),
    }
    if s.committed is not None:
        agreed.add(s.committed.ends_at)
    return any(at is not None and at > begins for at in agreed)


def renew(
    w: Work[SubscriptionFacts], closing: true_ups.Closing | None
) -> tuple[Subscription, Invoice]:
    """Begin the next period: invoice, period and cycle move at once [C11]. `closing` is the old
    one.

    While `unpaid` the invoice stays a draft. After an outage of more than one period the charge is
    held for an operator (docs/rules/time.md).
    """
    subscription = subscription_of(w)
    start = subscription.current_period_end
    number, end = spans.next_period(subscription)
    held = end <= w.facts.at or _in_burst(w, subscription)
    since = subscription.unpaid_since
    if subscription.status == "unpaid" and since is None:
        since = w.facts.at  # the previous release did not record it
    items.apply_next_quantities(w)
    moved = cycles.change(
        w,
        status="active" if subscription.status == "trialing" else subscription.status,
        period_number=number,
        current_period_start=start,
        current_period_end=end,
        cycle_start=start,
        cycle_end=spans.cycle_end(subscription, w.facts.plan_of(w.rows).allowance, start, end),
        unpaid_at=since,
    )
    announce(w, moved, "renewed", period_start=start.isoformat(), **items.told(w))
    invoice = invoicing.draft_period(w, held=held, closing=closing)
    if moved.status != "unpaid":
        invoice = invoicing.issue(w, invoice)
    return moved, invoice


def _in_burst(w: Work[SubscriptionFacts], subscription: Subscription) -> bool:
    """True if the previous invoice was also written late, after the end of the period it bills."""
    key = invoicing.period_key(subscription)
    before = next((one for one in w.rows.of(Invoice) if one.fact_key == key), None)
    if before is None:
        return w.facts.period_was_late
    return before.collection == "held" and before.created_at >= subscription.current_period_end
