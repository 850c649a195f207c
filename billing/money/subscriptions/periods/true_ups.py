"""Minimums of periods and commitments: lines for the amount not spent. Pure.

Spent is what invoices charge: their lines after discounts, before added tax, less credit notes for
what was not served. Drafts and void invoices do not count.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple

from billing.catalog.plans.rules import RUNNING
from billing.core import periods
from billing.core.money import round_exact
from billing.core.periods import FOREVER
from billing.matters.effects import Work
from billing.money.invoices import giving_back
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import (
    CHARGED,
    PRORATION,
    CreditNote,
    Invoice,
    InvoiceLine,
    Line,
    NewInvoice,
)
from billing.money.invoices.sums import COMMITMENT, MINIMUM, after_discounts
from billing.money.subscriptions.facts import Spent, SubscriptionFacts, subscription_of, sum_spent
from billing.money.subscriptions.periods import proration, shares
from billing.money.subscriptions.schemas import Commitment, Minimum, Subscription

By = Literal["its end", "a change", "a pause", "an end"]
"""A period closes by its own end; or now, by a change that begins another one, by a pause, or by
the end of the subscription.
"""
_STOPS: Final = ("a pause", "an end")


class Closing(NamedTuple):
    """A period that closes, with its minimum after those of earlier periods that are not billed."""

    start: datetime
    end: datetime
    minimums: tuple[Minimum, ...]
    commitment: Commitment | None
    zone: str
    by: By
    tax_category: str
    """That of its plan; another plan may follow."""

    @property
    def has_own(self) -> bool:
        """True if the period itself has a minimum, not only earlier ones."""
        return any(one.since == self.start for one in self.minimums)


def closing(
    w: Work[SubscriptionFacts], by: By = "its end", at: datetime | None = None
) -> Closing | None:
    """Return the current period as it closes; `at` is the instant of an early end, if not now.

    An early end has its part of the minimum. There is none while nothing is served, or if the end
    comes because the money went back.
    """
    one, at = subscription_of(w), at or w.facts.at
    if one.status in ("incomplete", "trialing"):
        return None
    start, end = one.current_period_start, one.current_period_end
    until = end if by == "its end" else min(at, end)
    served = min(until, one.served_until or until)
    least = 0 if by == "an end" and w.facts.period_is_lost else minimum_until(one, until)
    kind = w.facts.plan_of(w.rows).tax_category
    minimum = Minimum(since=start, until=served, least_minor=least, tax_category=kind)
    minimums = (*one.unbilled_minimums, *([minimum] if minimum.least_minor else []))
    return Closing(start, until, minimums, one.committed, one.zone, by, kind)


def put_off(w: Work[SubscriptionFacts], period: Closing | None) -> None:
    """Leave the minimums of a period that closes `unpaid`, and its part of a commitment, to a later
    invoice: its own may never be collected.
    """
    if period is not None and period.minimums:
        kept = [one.model_dump(mode="json") for one in period.minimums]
        w.change(subscription_of(w), minimums_unbilled=kept)


def closing_commitment(w: Work[SubscriptionFacts]) -> Closing:
    """Return the commitment at its end, while nothing is served that could close with it. Waiting
    minimums count towards it, so they are billed with it.
    """
    one = subscription_of(w)
    agreed = one.committed
    if agreed is None:
        raise LookupError("there is no commitment")
    waiting, kind = one.unbilled_minimums, w.facts.plan_of(w.rows).tax_category
    return Closing(agreed.since, agreed.ends_at, waiting, agreed, one.zone, "its end", kind)


def minimum_until(one: Subscription, until: datetime) -> int:
    """Return the current period's minimum up to then: each one for the time in which it applies.

    While `unpaid` nothing is served: only the time before counts.
    """
    if one.status not in RUNNING:
        return 0
    until = min(until, one.served_until or until)
    if until <= one.current_period_start:
        return 0
    since, before, _ = _applied(one)
    part = _rest(one, since) - _rest(one, max(since, until))
    return before + round_exact((one.minimum_minor or 0) * part)


def applied_from(one: Subscription, at: datetime, minimum_minor: int | None) -> dict[str, Any]:
    """Return the fields that apply this minimum from an instant of the current period on; the
    minimum of the time before stays owed. One that is the same goes on: it is rounded once.
    """
    if minimum_minor == one.minimum_minor:
        return {}
    until, (_, _, share) = min(at, one.current_period_end), _applied(one)
    goes_on = share is not None and until < one.current_period_end
    return {
        "minimum_since": until,
        "minimum_before_minor": minimum_until(one, until) or None,
        "minimum_share": str(_rest(one, until)) if goes_on else None,
    }


def spread(one: Subscription) -> dict[str, Any]:
    """Return the fields that spread the minimum over the extended period, so that added days do not
    raise it.
    """
    if one.status == "trialing":
        return {}
    since, before, _ = _applied(one)
    return {
        "minimum_since": since,
        "minimum_before_minor": before or None,
        "minimum_share": str(_rest(one, since)),
    }


def _applied(one: Subscription) -> tuple[datetime, int, Fraction | None]:
    """Return since when the current period's minimum applies, and the minimum before that; if days
    were added, also the share of a whole minimum for the time since.
    """
    since, start = one.minimum_since, one.current_period_start
    share = Fraction(one.minimum_share) if one.minimum_share else None
    # The fields of an earlier period are still in the row.
    if since is None or since < start or (since == start and share is None):
        return start, 0, None
    return since, one.minimum_before_minor or 0, share


def _rest(one: Subscription, at: datetime) -> Fraction:
    """Return the share of a whole minimum for the time from `at` to the end of the period."""
    since, _, share = _applied(one)
    if share is None:
        return shares.rest_of_period(one, at)
    return share * proration.rest(since, one.current_period_end, at)


def with_least(w: Work[SubscriptionFacts], period: Closing | None, new: NewInvoice) -> NewInvoice:
    """Return an invoice with the lines that raise a period, and a commitment that is over, to their
    minimum. Its other lines count as they are charged, after discounts.
    """
    if period is None:
        return new
    subscription = subscription_of(w)
    if subscription.minimums_unbilled:
        w.change(subscription, minimums_unbilled=[])
    charged_here = after_discounts(new.lines, new.discounts)
    found = [
        line for one in period.minimums for line in _minimum_lines(w, period, one, charged_here)
    ]
    agreed = period.commitment
    if agreed is not None and (period.by == "an end" or period.end >= agreed.ends_at):
        found += _committed(w, period, agreed, (*charged_here, *found))
    return new.model_copy(update={"lines": (*new.lines, *found)})


def _minimum_lines(
    w: Work[SubscriptionFacts], period: Closing, minimum: Minimum, new: Sequence[Line]
) -> list[Line]:
    since, until = minimum.since, minimum.until
    # If no period follows, charges at its last instant belong to it, too.
    last = period.by in _STOPS and since == period.start
    spent = _spent(w, new, since, FOREVER if last else until)
    span = periods.spoken_span(since, until, period.zone)
    words, category = f"Minimum, {span}", minimum.tax_category or period.tax_category
    return _missing(MINIMUM, words, category, (since, until), (minimum.least_minor, spent))


def _committed(
    w: Work[SubscriptionFacts], period: Closing, agreed: Commitment, new: Sequence[Line]
) -> list[Line]:
    """Close the commitment and charge the amount not spent, unless an early end forgives it."""
    subscription = subscription_of(w)
    if subscription.committed == agreed:  # the next contract may have come with its own
        w.change(subscription, commitment=None)
    if period.end < agreed.ends_at and agreed.on_early_end == "forgive":
        return []
    spent = _spent(w, new, agreed.since, max(period.end, agreed.ends_at))
    span = periods.spoken_span(agreed.since, agreed.ends_at, period.zone)
    words, time = f"Commitment, {span}", (agreed.since, agreed.ends_at)
    sums = agreed.amount_minor, spent
    return _missing(COMMITMENT, words, period.tax_category, time, sums)


def rest(least_minor: int, spent_minor: int) -> int:
    """Return the missing part; zero if the minimum was spent."""
    return max(0, least_minor - spent_minor)


def _missing(
    kind: str,
    words: str,
    tax_category: str,
    time: tuple[datetime, datetime],
    sums_minor: tuple[int, int],
) -> list[Line]:
    """Return the line for the part of the least that was not spent; `sums_minor` are both."""
    least_minor, spent_minor = sums_minor
    missing = rest(least_minor, spent_minor)
    if not missing:
        return []
    return [
        Line(
            kind=kind,
            description=words,
            unit_amount=Decimal(missing),
            amount_minor=missing,
            period_start=time[0],
            period_end=time[1],
            tax_category=tax_category,
            detail={"least_minor": least_minor, "spent_minor": spent_minor},
        )
    ]


def _spent(
    w: Work[SubscriptionFacts], new: Sequence[Line], since: datetime, until: datetime
) -> int:
    """Return the sum charged for the time from `since` to `until`."""
    here = {one.id for one in w.rows.of(Invoice)}
    known = [*(one for one in w.facts.spent if one.invoice_id not in here), *charged(w)]
    mine = (one for one in new if one.period_start is None or since <= one.period_start < until)
    return sum_spent(known, since, until) + sum(one.amount_minor for one in mine)


def charged(w: Work[SubscriptionFacts]) -> Iterator[Spent]:
    """Yield the charges among the rows."""
    for invoice in w.rows.of(Invoice):
        if invoice.subscription_id != w.facts.subscription_id or invoice.status not in CHARGED:
            continue
        notes = [
            one
            for one in w.rows.of(CreditNote)
            if giving_back.is_of(one, invoice) and not one.was_served
        ]
        noted = sum(one.amount_minor for one in notes)
        named = Counter[int]()
        for part in (part for one in notes for part in one.lines):
            named[part["position"]] += part["amount_minor"]
        lines = invoices.lines_of(w.rows, invoice.id)
        charges = sum(line.total_minor for line in lines if line.kind != PRORATION)
        for line in lines:
            yield Spent(
                invoice_id=invoice.id,
                at=_since(line) or invoice.created_at,
                net_minor=line.amount_minor - line.discount_minor,
                total_minor=line.total_minor,
                named_minor=named[line.position],
                spread_minor=noted - named.total() if line.kind != PRORATION else 0,
                rest_minor=charges - named.total(),
            )


def _since(line: InvoiceLine) -> datetime | None:
    """Return the beginning of the time that a line charges or credits."""
    credited = line.detail.get("since")
    return line.period_start or (datetime.fromisoformat(credited) if credited else None)
