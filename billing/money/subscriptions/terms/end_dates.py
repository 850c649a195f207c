"""Refusals of changes for a subscription that ends at a date. Pure."""

from billing.core.errors import Conflict
from billing.core.periods import Interval
from billing.money.subscriptions.periods import spans
from billing.money.subscriptions.schemas import Subscription


def demand_whole_rest(subscription: Subscription) -> None:
    """Raise SUBSCRIPTION_STATE if an end at a date comes before the period's end: the change would
    charge time that is never served.
    """
    end = subscription.cancel_at
    if end is not None and end < subscription.current_period_end:
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "the subscription ends within this period; reactivate it first",
            state=subscription.status,
        )


def demand_a_day(after: Subscription, instead: str = "reactivate it first") -> None:
    """Raise SUBSCRIPTION_STATE if an end at a date leaves a new period, or the last one that is
    counted from it, less than a day.
    """
    end, length = after.cancel_at, after.current_period_end - after.current_period_start
    if end is not None and (length < spans.SHORTEST or spans.refusal_of_end(after, end)):
        raise Conflict(
            "SUBSCRIPTION_STATE",
            f"the subscription's last period would be shorter than a day; {instead}",
            state=after.status,
        )


def demand_last_day(
    subscription: Subscription, interval: Interval, instead: str = "reactivate it first"
) -> None:
    """Raise SUBSCRIPTION_STATE likewise for later periods counted by another interval."""
    s, fields = subscription, spans.after_this(subscription, interval)
    if fields and s.cancel_at is not None and s.cancel_at > s.current_period_end:
        number = {"interval_unit": interval.unit, "interval_count": interval.count}
        start, after = s.current_period_end, s.model_copy(update=fields | number)
        _, end = spans.next_period(after)
        period = {"current_period_start": start, "current_period_end": end}
        demand_a_day(after.model_copy(update=period), instead)
