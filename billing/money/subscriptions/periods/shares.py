"""The share of a whole period or cycle that a shorter one is, or that is left of it. Pure.

A shorter one is billed, and its credits are granted, by the second of the whole one.
"""

import math
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from billing.core import periods
from billing.core.periods import Interval
from billing.money.subscriptions.periods import proration, spans
from billing.money.subscriptions.schemas import Subscription


def of_cycle(subscription: Subscription, allowance: Interval) -> Fraction:
    """Return the part of a whole cycle that this one is: 1, unless something cuts it short."""
    return rest_of_cycle(subscription, allowance, subscription.cycle_start)


def rest_of_period(subscription: Subscription, at: datetime) -> Fraction:
    """Return the part of a whole period that is between `at` and the end of this one."""
    s = subscription
    whole = _whole(s.current_period_start, s.anchor_wall, s.zone, s.interval, s.period_number)
    return proration.rest(
        min(s.current_period_start, s.current_period_end - whole), s.current_period_end, at
    )


def rest_of_cycle(subscription: Subscription, allowance: Interval, at: datetime) -> Fraction:
    """Return the part of a whole cycle that is between `at` and the end of this one.

    The first cycle of a trial is a whole one, however short it is.
    """
    start = _whole_cycle(subscription, allowance)
    return proration.rest(start, subscription.cycle_end, at)


def left_at_most(subscription: Subscription, allowance: Interval, part: Fraction) -> datetime:
    """Return the instant from which at most that part of a whole cycle is left of this one."""
    start, end = _whole_cycle(subscription, allowance), subscription.cycle_end
    seconds = math.floor((end - start) // timedelta(seconds=1) * part)
    return end - timedelta(seconds=seconds)


def used_until(subscription: Subscription, used_share: Decimal, at: datetime) -> datetime:
    """Return the instant up to which time counts as used: `at`, or the later one by which that
    share of the cycle has passed.
    """
    start, end = subscription.cycle_start, subscription.cycle_end
    seconds = math.ceil((end - start) // timedelta(seconds=1) * used_share)
    return max(at, min(end, start + timedelta(seconds=seconds)))


def _whole_cycle(s: Subscription, allowance: Interval) -> datetime:
    """Return the start of the whole cycle of which this one is the last part."""
    anchor, in_trial = spans.cycle_anchor(s, s.cycle_start), s.status == "trialing"
    if in_trial and s.cycle_start == s.current_period_start:
        return s.cycle_start
    if not in_trial and s.cycle_end == spans.whole_period_end(s):
        anchor = s.anchor_wall  # a billing day cuts the last cycle before it, and no other
    # By its end: added days have moved the anchor behind its start.
    last = s.cycle_end - timedelta(microseconds=1)
    number = periods.index_at(anchor, s.zone, allowance, last)
    if last < periods.from_wall(anchor, s.zone):
        number = -1
    whole = _whole(s.cycle_start, anchor, s.zone, allowance, number)
    return min(s.cycle_start, s.cycle_end - whole)


def _whole(
    start: datetime, anchor: datetime, zone: str, interval: Interval, number: int
) -> timedelta:
    """Return the length of the whole period or cycle that the one from `start` is a part of.

    One that begins in a repeated hour is whole, also if that is the second: the anchor is a wall
    time.
    """
    begins = periods.boundary(anchor, zone, interval, number)
    if periods.to_wall(start, zone) == periods.to_wall(begins, zone):
        begins = start
    return periods.boundary(anchor, zone, interval, number + 1) - begins
