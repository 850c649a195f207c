"""Time sold for nothing, by a plan without a price or by a coupon: it renews no allowance. Pure.

A change of plan takes back all that is left of it, used or not, and a plan without a price brings
only the credits that such plans have not granted in the calendar month (docs/rules/catalog.md).
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from billing.core import periods
from billing.core.money import ZERO
from billing.core.periods import Interval
from billing.matters.effects import Work
from billing.money.invoices.schemas import NewInvoice
from billing.money.invoices.sums import sum_lines
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.free_grants import FreeGrant
from billing.money.subscriptions.periods import items, proration

CALENDAR: Final = datetime(2001, 1, 1)  # noqa: DTZ001
"""The first day of a year, a month and a week, on any wall: calendar months are counted from it."""


def costs_nothing(invoice: NewInvoice) -> bool:
    """True if the plan has no price, or coupons take all of it."""
    summed = sum_lines(invoice.lines, invoice.discounts, currency=invoice.currency)
    plan = [one for one in summed if one.line.kind == items.PLAN]
    return all(one.line.amount_minor <= one.discount_minor for one in plan)


def is_free(w: Work[SubscriptionFacts], at: datetime) -> bool:
    """True if the subscription's own plan costs nothing for the rest of the period."""
    if not subscription_of(w).amount_minor:
        return True
    billed = proration.current(w.rows, (items.PLAN,), at)
    return bool(billed) and all(one.amount_minor <= one.discount_minor for one in billed)


def left_in_month(
    w: Work[SubscriptionFacts], allowance: Interval, at: datetime, credits: Decimal
) -> Decimal:
    """Return what is left of a free plan's `credits` after all that free plans have granted in the
    calendar month (week, day) of an instant, whichever plan or subscription it was.
    """
    zone = subscription_of(w).zone
    begins = month_of(allowance, zone, at)
    granted = (one.amount for one in w.facts.free_grants if _is_since(one, begins, zone))
    return max(ZERO, credits - sum(granted))


def month_of(allowance: Interval, zone: str, at: datetime) -> datetime:
    """Return the start of the calendar month (week, day) of an instant."""
    number = periods.index_at(CALENDAR, zone, allowance, at)
    return periods.boundary(CALENDAR, zone, allowance, number)


def _is_since(grant: FreeGrant, begins: datetime, zone: str) -> bool:
    """True if a grant is for a span that begins then or later, by the day in its key: a renewal
    grants a moment before the span begins. The grant of a change counts by its time.
    """
    if grant.day is None:
        return grant.at >= begins
    return grant.day >= periods.to_wall(begins, zone).date()
