"""Days that an operator adds to a period: what moves, and by how much. Pure."""

from datetime import datetime, timedelta
from typing import Any

from billing.core import periods
from billing.core.periods import Interval
from billing.money.subscriptions.periods import spans
from billing.money.subscriptions.schemas import Subscription


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
    whole_end = _later(spans.whole_period_end(s), s.zone, days)
    anchor, number = periods.anchor_for(whole_end, s.interval)
    return {"anchor_wall": anchor, "period_number": number - 1}


def _cycle_end_later(
    s: Subscription, after: Subscription, allowance: Interval, days: int
) -> datetime:
    """Return the end of the current cycle `days` later; within the period, the boundary nearest."""
    later = periods.from_wall(_later(s.cycle_end, s.zone, days), s.zone)
    if s.cycle_end >= s.current_period_end:
        return later
    anchor = spans.cycle_anchor(after, s.cycle_start)
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
        anchor, number = spans.anchored(s.current_period_end, s.zone, every, s.anchor_wall.day)
    else:
        every, anchor, (number, _) = s.interval, s.anchor_wall, spans.next_period(s)
    start, end = (periods.boundary(anchor, s.zone, every, n) for n in (number, number + 1))
    return start, end


def _is_of_days(interval: Interval) -> bool:
    return interval.unit in ("day", "week")


def _trial_cycle_end(s: Subscription, allowance: Interval, end: datetime) -> datetime:
    """Return the end of the current cycle of a trial that now ends later: the old end cut it."""
    if s.cycle_end < s.current_period_end:
        return s.cycle_end
    last = s.cycle_end - timedelta(microseconds=1)
    return spans.cycle_end(s, allowance, last, end)


def _nearest(
    anchor: datetime, zone: str, interval: Interval, at: datetime, *, least: datetime
) -> datetime:
    """Return the boundary nearest to `at` that is not before `least`: months differ in length, so
    later cycles may end on another day of the month.
    """
    number = periods.index_at(anchor, zone, interval, at)
    around = (periods.boundary(anchor, zone, interval, n) for n in (number, number + 1))
    return min((one for one in around if one >= least), key=lambda one: abs(one - at))
