"""Time that is sold for nothing renews nothing: by a coupon, or of a plan without a price. Pure.

It brings only what the parts of the cycle that cost nothing have not given yet, and a plan without
a price only the credits that such plans have not granted in the calendar month
(docs/rules.md#catalog).
"""

from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from billing.catalog.plans.schemas import Plan
from billing.core import periods
from billing.core.periods import Interval
from billing.matters.effects import Work
from billing.money.invoices.schemas import NewInvoice
from billing.money.invoices.sums import sum_lines
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.free_parts import FreeGrant, FreeParts, Given
from billing.money.subscriptions.periods import cycles, items, portions, proration, spans
from billing.money.subscriptions.schemas import Subscription

CALENDAR: Final = datetime(2001, 1, 1)  # noqa: DTZ001
"""The first day of a year, a month and a week, on any wall: calendar months are counted from it."""


def costs_nothing(invoice: NewInvoice) -> bool:
    """True if the plan has no price, or coupons take all of it."""
    summed = sum_lines(invoice.lines, invoice.discounts, currency=invoice.currency)
    plan = [one for one in summed if one.line.kind == items.PLAN]
    return all(one.line.amount_minor <= one.discount_minor for one in plan)


class RestSold(NamedTuple):
    """The rest of a cycle for which a change sells another plan."""

    after: Subscription
    """The subscription with the cycle."""
    plan: Plan
    quantity: int
    at: datetime
    """The instant of the change."""
    since: datetime
    """The later one up to which the old plan's time counts as used."""
    resets: bool
    """True if the cycle begins with the change."""
    is_free: bool


def after_change(
    w: Work[SubscriptionFacts], rest: RestSold, given: Decimal, kept: Decimal
) -> FreeParts:
    """Return what free parts will have given after a change, with credits `given` for the rest, and
    those of the old plan that are `kept`, because they are of time that counts as used.
    """
    known, was_free = _known(w, rest.at), _is_free(w)
    return FreeParts(
        was_free=was_free,
        is_free=rest.is_free,
        credits=known.credits.more(given, kept if was_free else Decimal(0), is_free=rest.is_free),
        units=_units(w, rest, known, was_free=was_free),
        until=rest.after.cycle_end,
    )


def _units(
    w: Work[SubscriptionFacts], rest: RestSold, known: FreeParts, *, was_free: bool
) -> dict[str, Given]:
    if rest.resets and rest.is_free:
        return {}  # a cycle that begins for nothing counts what was used in the calendar month
    kept = portions.own_units(w, rest.at, rest.since) if was_free else {}
    gives = dict[str, Decimal]()
    if rest.is_free:
        part = spans.rest_of_cycle(rest.after, rest.plan.allowance, rest.at)
        whole = portions.included(rest.plan, rest.quantity)
        gives = {meter: proration.units_share(units, part) for meter, units in whole.items()}
    none = Decimal(0)
    return {
        meter: known.units.get(meter, Given()).more(
            gives.get(meter, none), kept.get(meter, none), is_free=rest.is_free
        )
        for meter in known.units | kept | gives
    }


def _known(w: Work[SubscriptionFacts], at: datetime) -> FreeParts:
    """Return what was recorded, if its cycle, which a pause may have cut, is not over yet."""
    found = w.facts.free_parts
    return found if found.until is not None and at < found.until else FreeParts()


def _is_free(w: Work[SubscriptionFacts]) -> bool:
    """True if the subscription's own plan costs nothing for the rest of the period."""
    if not cycles.of(w).amount_minor:
        return True
    billed = proration.current(w.rows, (items.PLAN,), w.facts.at)
    return bool(billed) and all(one.amount_minor <= one.discount_minor for one in billed)


def left_in_month(
    w: Work[SubscriptionFacts], allowance: Interval, at: datetime, credits: Decimal
) -> Decimal:
    """Return what is left of a free plan's `credits` after all that free plans have granted in the
    calendar month (week, day) of an instant, whichever plan or subscription it was.
    """
    zone = cycles.of(w).zone
    begins = month_of(allowance, zone, at)
    granted = (one.amount for one in w.facts.free_grants if _is_since(one, begins, zone))
    return max(Decimal(0), credits - sum(granted))


def month_of(allowance: Interval, zone: str, at: datetime) -> datetime:
    """Return the start of the calendar month (week, day) of an instant."""
    number = periods.index_at(CALENDAR, zone, allowance, at)
    return periods.boundary(CALENDAR, zone, allowance, number)


def _is_since(grant: FreeGrant, begins: datetime, zone: str) -> bool:
    """True if a grant is of a span that begins then or later: a renewal grants a moment early."""
    if grant.day is None:
        return grant.at >= begins
    return grant.day >= periods.to_wall(begins, zone).date()
