"""The start and end of periods and cycles, also where an end or a billing day cuts them. Pure.

Whole periods are counted from the anchor.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from billing.core import periods
from billing.core.periods import Interval
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions.schemas import Subscription

SHORTEST: Final = timedelta(days=1)
"""The minimum length of a period that an end at a date cuts."""


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
        whole_end = cycle_end(after, allowance, last, whole_period_end(after))
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


def first_payment_until(s: Subscription) -> datetime:
    """Return the instant from which the first payment begins nothing: the end of its period, but a
    transfer has its days.
    """
    waits = s.incomplete_expires_at if s.collection == "send_invoice" else None
    return max(s.current_period_end, waits or s.current_period_end)


def waited(s: Subscription, at: datetime) -> dict[str, Any]:
    """Return the fields of a first period that nobody paid for, until the one that runs at this
    instant begins.
    """
    number = periods.index_at(s.anchor_wall, s.zone, s.interval, at)
    ends = periods.boundary(s.anchor_wall, s.zone, s.interval, number)
    return {"period_number": number - 1, "current_period_end": ends}


def running(s: Subscription, at: datetime, allowance: Interval) -> dict[str, Any]:
    """Return the fields of the period that runs at this instant by the anchor, as it begins then:
    its first one was over before.
    """
    number = periods.index_at(s.anchor_wall, s.zone, s.interval, at)
    end = periods.boundary(s.anchor_wall, s.zone, s.interval, number + 1)
    return {
        "period_number": number,
        "current_period_start": at,
        "current_period_end": end,
        "cycle_start": at,
        "cycle_end": next_boundary(s.anchor_wall, s.zone, allowance, at, end),
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
    if start >= whole_period_end(s):
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
    return next_boundary(cycle_anchor(s, start), s.zone, allowance, start, end)


def cycle_anchor(s: Subscription, start: datetime) -> datetime:
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
    subscription: Subscription,
    start: datetime,
    interval: Interval,
    allowance: Interval,
    zone: str | None = None,
) -> Subscription:
    """Return the subscription with a new period, cycle and anchor from `start` on, in this zone; in
    its own if None.
    """
    s, zone = subscription, zone or subscription.zone
    anchor = periods.to_wall(start, zone)
    end = _cut(s, start, periods.boundary(anchor, zone, interval, 1))
    return s.model_copy(
        update={
            "zone": zone,
            "interval_unit": interval.unit,
            "interval_count": interval.count,
            "anchor_wall": anchor,
            "period_number": 0,
            "current_period_start": start,
            "current_period_end": end,
            "cycle_start": start,
            "cycle_end": next_boundary(anchor, zone, allowance, start, end),
        }
    )


def in_zone(subscription: Subscription, zone: str) -> dict[str, str | datetime | int] | None:
    """Return the fields that count later periods in another zone, exactly from this one's end.

    None: wait for the end of a whole period, at a local time that exists once in the zone.
    """
    s = subscription
    if s.current_period_end != whole_period_end(s):
        return None
    found = periods.anchor_in(zone, s.anchor_wall, s.zone, s.interval, s.period_number + 1)
    if found is None:
        return None
    anchor, number = found
    return {"zone": zone, "anchor_wall": anchor, "period_number": number - 1}


def fields(subscription: Subscription) -> dict[str, datetime]:
    """Return the period and first cycle of the invoice that bills it."""
    return {
        "period_start": subscription.current_period_start,
        "period_end": subscription.current_period_end,
        "cycle_start": subscription.cycle_start,
        "cycle_end": subscription.cycle_end,
    }


def billed_by(invoice: Invoice, zone: str) -> dict[str, Any]:
    """Return the fields of the new period, cycle and anchor that an invoice bills."""
    start = invoice.period_start
    if start is None:
        raise ValueError("a new period is billed for its span")
    return {
        "zone": zone,
        "anchor_wall": periods.to_wall(start, zone),
        "period_number": 0,
        "current_period_start": start,
        "current_period_end": invoice.period_end,
        "cycle_start": invoice.cycle_start,
        "cycle_end": invoice.cycle_end,
    }


def whole_period_end(s: Subscription) -> datetime:
    """Return the end of the whole period of which this one may be a part."""
    return periods.boundary(s.anchor_wall, s.zone, s.interval, s.period_number + 1)


def refusal_of_end(subscription: Subscription, date: datetime) -> str | None:
    """Return the reason why a subscription may not end at this date; None: it may.

    A period is cut once, and to a day at least: each piece has the agreed limits and the quotas of
    a cycle, and its price is rounded to a cent.
    """
    s = subscription
    if date <= s.current_period_end:
        return None
    if date < whole_period_end(s):
        return (
            "an earlier end date has already cut this period: end by then, or with the full period"
        )
    number = periods.index_at(s.anchor_wall, s.zone, s.interval, date)
    begins = periods.boundary(s.anchor_wall, s.zone, s.interval, number)
    # Until the billing day behind a trial, which is the anchor, the period begins with its end.
    last = max(one for one in (begins, s.current_period_end) if one <= date)
    if timedelta() < date - last < SHORTEST:
        return "its last period would be shorter than a day: end with the period before"
    return None


def _cut(s: Subscription, start: datetime, end: datetime) -> datetime:
    """Return `end`, or the scheduled end before it."""
    return min(end, s.cancel_at) if s.cancel_at is not None and s.cancel_at > start else end
