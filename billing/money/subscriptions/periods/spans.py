"""Periods and cycles: whole ones, and those that an end or a billing day makes shorter. Pure.

Whole periods are counted from the anchor. A shorter one is billed by the second of the whole one.
"""

import math
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from billing.core import periods
from billing.core.periods import Interval
from billing.money.subscriptions.periods import proration
from billing.money.subscriptions.schemas import Subscription

SHORTEST: Final = timedelta(days=1)
"""The minimum length of a period that an end at a date cuts."""


class Parts(NamedTuple):
    """The shares of a whole period and of a whole cycle that are billed and granted."""

    period: Fraction
    cycle: Fraction


def cut_cycle(
    before: Subscription, after: Subscription, allowance: Interval
) -> dict[str, datetime | None]:
    """Return the fields of a cycle that has moved: the end of the whole one, if an end at a date
    cuts it short, and the start of the cut one, if this one is its remainder.
    """
    rest_of, whole_end = before.cycle_rest_of, None
    if after.cycle_start != before.cycle_start:
        goes_on = before.cycle_whole_end is not None and after.cycle_start == before.cycle_end
        rest_of = before.cycle_start if goes_on else None
    stays_cut = after.cycle_start == before.cycle_start and before.cycle_whole_end is not None
    if stays_cut or after.cycle_end == after.cancel_at:
        # By its end: added days have moved the anchor behind its start.
        last = after.cycle_end - timedelta(microseconds=1)
        whole_end = cycle_end(after, allowance, last, _whole_period_end(after))
    is_cut = whole_end is not None and whole_end > after.cycle_end
    return {"cycle_whole_end": whole_end if is_cut else None, "cycle_rest_of": rest_of}


def anchored(
    begins: datetime, zone: str, interval: Interval, day: int | None
) -> tuple[datetime, int]:
    """Return an anchor, and the number of the whole period that `begins` then, or whose part until
    the billing `day` does.
    """
    anchor, number = periods.to_wall(begins, zone), 0
    if day is not None:
        anchor, number = periods.anchor_on(day, anchor, interval)
    if periods.boundary(anchor, zone, interval, number) > begins:
        number -= 1
    return anchor, number


def first(
    at: datetime,
    zone: str,
    interval: Interval,
    billing_day: int | None,
    trial_end: datetime | None,
    allowance: Interval,
) -> dict[str, Any]:
    """Return the fields of the period and cycle with which a subscription begins.

    A trial is the period before the first paid one, which a billing day may shorten.
    """
    anchor, number = anchored(trial_end or at, zone, interval, billing_day)
    end = trial_end or periods.boundary(anchor, zone, interval, number + 1)
    # On the last day of a shorter month the billing day is there already.
    is_whole = trial_end is None and periods.boundary(anchor, zone, interval, number) == at
    cycle_anchor = anchor if is_whole else periods.to_wall(at, zone)
    return {
        "anchor_wall": anchor,
        "zone": zone,
        "period_number": number - 1 if trial_end else number,
        "current_period_start": at,
        "current_period_end": end,
        "cycle_start": at,
        "cycle_end": next_boundary(cycle_anchor, zone, allowance, at, end),
    }


def after_this(subscription: Subscription, interval: Interval) -> dict[str, Any]:
    """Return the fields that count the periods after this one by another interval, from its end.

    After a trial, periods of months keep the day of the month that they should have had.
    """
    s, begins = subscription, subscription.current_period_end
    if interval == s.interval:
        return {}
    anchor, number = periods.to_wall(begins, s.zone), 0
    if s.status == "trialing" and interval.unit in ("month", "year"):
        anchor, number = anchored(begins, s.zone, interval, s.anchor_wall.day)
    elif s.status == "trialing":
        anchor, number = periods.anchor_of_days(s.anchor_wall.day, anchor, interval)
    return {"anchor_wall": anchor, "period_number": number - 1}


def next_period(subscription: Subscription) -> tuple[int, datetime]:
    """Return number and end of the next period; after a short one the rest of the whole one."""
    s, start = subscription, subscription.current_period_end
    number = s.period_number
    if start >= _whole_period_end(s):
        number += 1
    return number, _cut(s, start, periods.boundary(s.anchor_wall, s.zone, s.interval, number + 1))


def next_boundary(
    anchor_wall: datetime, zone: str, allowance: Interval, start: datetime, period_end: datetime
) -> datetime:
    """Return the end of the allowance cycle that starts at `start`: next boundary or period end."""
    number = periods.index_at(anchor_wall, zone, allowance, start)
    return min(periods.boundary(anchor_wall, zone, allowance, number + 1), period_end)


def cycle_end(s: Subscription, allowance: Interval, start: datetime, end: datetime) -> datetime:
    """Return the end of the cycle that begins at `start`, in this period or the next; not after
    `end`.
    """
    return next_boundary(_cycle_anchor(s, start), s.zone, allowance, start, end)


def _cycle_anchor(s: Subscription, start: datetime) -> datetime:
    """Return the anchor of the cycle that begins at `start`, in this period or the next one.

    Cycles of a trial, and of a first paid period cut short by a billing day, are counted from its
    beginning; so is the rest of that period behind an end at a date that was canceled.
    """
    number, begins = s.period_number, s.current_period_start
    if start >= s.current_period_end:
        (number, _), begins = next_period(s), s.current_period_end
    elif s.status == "trialing":
        return periods.to_wall(begins, s.zone)
    first = s.trial_end or s.created_at
    if periods.boundary(s.anchor_wall, s.zone, s.interval, number) < first <= begins:
        return periods.to_wall(first, s.zone)
    return s.anchor_wall


def anew(
    subscription: Subscription, start: datetime, interval: Interval, allowance: Interval
) -> Subscription:
    """Return the subscription with a new period, cycle and anchor from `start` on."""
    s, anchor = subscription, periods.to_wall(start, subscription.zone)
    end = _cut(s, start, periods.boundary(anchor, s.zone, interval, 1))
    return s.model_copy(
        update={
            "interval_unit": interval.unit,
            "interval_count": interval.count,
            "anchor_wall": anchor,
            "period_number": 0,
            "current_period_start": start,
            "current_period_end": end,
            "cycle_start": start,
            "cycle_end": next_boundary(anchor, s.zone, allowance, start, end),
        }
    )


def in_zone(subscription: Subscription, zone: str) -> dict[str, str | datetime | int] | None:
    """Return the fields that count later periods in another zone, exactly from this one's end.

    None: wait for the end of a whole period, at a local time that exists once in the zone.
    """
    s = subscription
    if s.current_period_end != _whole_period_end(s):
        return None
    found = periods.anchor_in(zone, s.anchor_wall, s.zone, s.interval, s.period_number + 1)
    if found is None:
        return None
    anchor, number = found
    return {"zone": zone, "anchor_wall": anchor, "period_number": number - 1}


def extended(subscription: Subscription, days: int, allowance: Interval) -> Subscription:
    """Return the subscription with its period, cycle and anchor `days` later, by its own clock."""
    s = subscription
    wall = _later(s.current_period_end, s.zone, days)
    end = periods.from_wall(wall, s.zone)
    if s.status == "trialing":
        moved = {"trial_end": end, **_trial_anchor_later(s, wall, days)}
        cycle_end = _trial_cycle_end(s, allowance, end)
    else:
        moved = _whole_anchor_later(s, days)
        after = s.model_copy(update=moved | {"current_period_end": end})
        cycle_end = _cycle_end_later(s, after, allowance, days)
    return s.model_copy(
        update=moved | {"current_period_end": end, "cycle_end": min(end, cycle_end)}
    )


def agreed_end(before: Subscription, after: Subscription, agreed: datetime, days: int) -> datetime:
    """Return an instant `agreed` before days were added: still the end of as many periods, or if it
    is no end of a period, `days` later.
    """
    zone, every = before.zone, before.interval
    number = periods.index_at(before.anchor_wall, zone, every, agreed)
    if periods.boundary(before.anchor_wall, zone, every, number) != agreed:
        return periods.from_wall(_later(agreed, zone, days), zone)
    number += after.period_number - before.period_number
    return periods.boundary(after.anchor_wall, zone, every, number)


def _later(at: datetime, zone: str, days: int) -> datetime:
    return periods.to_wall(at, zone) + timedelta(days=days)


def _whole_anchor_later(s: Subscription, days: int) -> dict[str, Any]:
    """Return the anchor of a period that now ends `days` later. If an end at a date has cut it, its
    rest still comes and keeps its length.
    """
    whole_end = _later(_whole_period_end(s), s.zone, days)
    anchor, number = periods.anchor_for(whole_end, s.interval)
    return {"anchor_wall": anchor, "period_number": number - 1}


def _cycle_end_later(
    s: Subscription, after: Subscription, allowance: Interval, days: int
) -> datetime:
    """Return the end of the current cycle `days` later; within the period, the boundary nearest."""
    later = periods.from_wall(_later(s.cycle_end, s.zone, days), s.zone)
    if s.cycle_end >= s.current_period_end:
        return later
    anchor = _cycle_anchor(after, s.cycle_start)
    return _nearest(anchor, s.zone, allowance, later, least=s.cycle_end)


def _trial_anchor_later(s: Subscription, end: datetime, days: int) -> dict[str, Any]:
    """Return the anchor of a trial that now ends at this wall time, `days` later than before.

    A first period that a billing day cuts short ends `days` later, too. For days and weeks the
    anchor keeps that day of the month, for a later interval of months.
    """
    begins, ends = _first_whole(s)
    if begins == s.current_period_end:
        return {"anchor_wall": end, "period_number": -1}
    first_end = _later(ends, s.zone, days)
    if _is_of_days(s.interval):
        anchor, number = periods.anchor_of_days(first_end.day, end, s.interval)
        return {"anchor_wall": anchor, "period_number": number - 1}
    anchor, number = periods.anchor_for(first_end, s.interval)
    return {"anchor_wall": anchor, "period_number": number - 2}


def _first_whole(s: Subscription) -> tuple[datetime, datetime]:
    """Return start and end of the whole period, by a billing day, that follows a trial; for days
    and weeks, those of the month.
    """
    if _is_of_days(s.interval):
        every = periods.MONTH
        anchor, number = anchored(s.current_period_end, s.zone, every, s.anchor_wall.day)
    else:
        every, anchor, (number, _) = s.interval, s.anchor_wall, next_period(s)
    start, end = (periods.boundary(anchor, s.zone, every, n) for n in (number, number + 1))
    return start, end


def _is_of_days(interval: Interval) -> bool:
    return interval.unit in ("day", "week")


def _trial_cycle_end(s: Subscription, allowance: Interval, end: datetime) -> datetime:
    """Return the end of the current cycle of a trial that now ends later: the old end cut it."""
    if s.cycle_end < s.current_period_end:
        return s.cycle_end
    last = s.cycle_end - timedelta(microseconds=1)
    return cycle_end(s, allowance, last, end)


def _nearest(
    anchor: datetime, zone: str, interval: Interval, at: datetime, *, least: datetime
) -> datetime:
    """Return the boundary nearest to `at` that is not before `least`: months differ in length, so
    later cycles may end on another day of the month.
    """
    number = periods.index_at(anchor, zone, interval, at)
    around = (periods.boundary(anchor, zone, interval, n) for n in (number, number + 1))
    return min((one for one in around if one >= least), key=lambda one: abs(one - at))


def fields(subscription: Subscription) -> dict[str, datetime]:
    """Return the period and first cycle of the invoice that bills it."""
    return {
        "period_start": subscription.current_period_start,
        "period_end": subscription.current_period_end,
        "cycle_start": subscription.cycle_start,
        "cycle_end": subscription.cycle_end,
    }


def parts(subscription: Subscription, allowance: Interval) -> Parts:
    """Return both shares: one, except for a short period or cycle."""
    s = subscription
    return Parts(
        rest_of_period(s, s.current_period_start), rest_of_cycle(s, allowance, s.cycle_start)
    )


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


def used_but(subscription: Subscription, allowance: Interval, part: Fraction) -> datetime:
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
    anchor, in_trial = _cycle_anchor(s, s.cycle_start), s.status == "trialing"
    if in_trial and s.cycle_start == s.current_period_start:
        return s.cycle_start
    if not in_trial and s.cycle_end == _whole_period_end(s):
        anchor = s.anchor_wall  # a billing day cuts the last cycle before it, and no other
    # By its end: added days have moved the anchor behind its start.
    last = s.cycle_end - timedelta(microseconds=1)
    number = periods.index_at(anchor, s.zone, allowance, last)
    if last < periods.from_wall(anchor, s.zone):
        number = -1
    whole = _whole(s.cycle_start, anchor, s.zone, allowance, number)
    return min(s.cycle_start, s.cycle_end - whole)


def _whole_period_end(s: Subscription) -> datetime:
    """Return the end of the whole period of which this one may be a part."""
    return periods.boundary(s.anchor_wall, s.zone, s.interval, s.period_number + 1)


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


def refusal_of_end(subscription: Subscription, date: datetime) -> str | None:
    """Return the reason why a subscription may not end at this date; None: it may.

    A period is cut once, and to a day at least: each piece has the agreed limits and the quotas of
    a cycle, and its price is rounded to a cent.
    """
    s = subscription
    if date <= s.current_period_end:
        return None
    if date < _whole_period_end(s):
        return (
            "an earlier end date has already cut this period: end by then, or with the full period"
        )
    number = periods.index_at(s.anchor_wall, s.zone, s.interval, date)
    begins = periods.boundary(s.anchor_wall, s.zone, s.interval, number)
    if timedelta() < date - max(begins, s.current_period_end) < SHORTEST:
        return "its last period would be shorter than a day: end with the period before"
    return None


def _cut(s: Subscription, start: datetime, end: datetime) -> datetime:
    """Return `end`, or the scheduled end before it."""
    return min(end, s.cancel_at) if s.cancel_at is not None and s.cancel_at > start else end
