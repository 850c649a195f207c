"""The least of a period or a commitment: lines for what was spent less. Pure.

Spent is what invoices charge: their lines after discounts, before tax that is added, less what
credit notes took back of what was not served. Drafts do not count, nor what is void.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple

from billing.core import periods
from billing.core.money import round_exact
from billing.matters.effects import Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine, Line
from billing.money.invoices.sums import COMMITMENT, MINIMUM
from billing.money.subscriptions.facts import Spent, SubscriptionFacts, sum_spent
from billing.money.subscriptions.periods import proration, spans
from billing.money.subscriptions.schemas import Commitment, Minimum, Subscription

CHARGED: Final = ("open", "paid", "uncollectible")
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
By = Literal["its end", "a change", "a pause", "an end"]
"""A period closes by its own end; or now, by a change that begins another one, a pause, or the end
of the subscription.
"""
_STOPS: Final = ("a pause", "an end")


class Closing(NamedTuple):
    """A period that closes, with the least that it comes to, behind those of earlier periods that
    no invoice has asked for.
    """

    start: datetime
    end: datetime
    minimums: tuple[Minimum, ...]
    commitment: Commitment | None
    zone: str
    by: By

    @property
    def has_own(self) -> bool:
        """True if the period itself has a least, not only earlier ones."""
        return any(one.since == self.start for one in self.minimums)


def closing(
    w: Work[SubscriptionFacts], by: By = "its end", at: datetime | None = None
) -> Closing | None:
    """The running period as it closes; one that ends early `at` an instant that is not now.

    One that ends early has its part of the least. While nothing is served, nothing is the least,
    nor where it ends for its money went back.
    """
    one, at = w.rows.get(Subscription, w.facts.subscription_id), at or w.facts.at
    if one.status in ("incomplete", "trialing"):
        return None
    start, end = one.current_period_start, one.current_period_end
    until = end if by == "its end" else min(at, end)
    served = min(until, one.served_until or until)
    least = 0 if by == "an end" and w.facts.period_is_lost else least_until(one, until)
    minimum = Minimum(since=start, until=served, least_minor=least)
    minimums = (*one.unbilled_minimums, *([minimum] if minimum.least_minor else []))
    return Closing(start, until, minimums, one.committed, one.zone, by)


def put_off(w: Work[SubscriptionFacts], period: Closing | None) -> None:
    """It closes while `unpaid`, and its invoice may never be asked for: a later one has its least,
    and what a commitment misses.
    """
    if period is not None and period.minimums:
        kept = [one.model_dump(mode="json") for one in period.minimums]
        w.change(w.rows.get(Subscription, w.facts.subscription_id), minimums_unbilled=kept)


def closing_commitment(w: Work[SubscriptionFacts]) -> Closing:
    """The commitment, at its end: nothing is served that could close with it. It counts minimums
    that wait, and so they come with it.
    """
    one = w.rows.get(Subscription, w.facts.subscription_id)
    agreed = one.committed
    if agreed is None:
        raise LookupError("there is no commitment")
    waiting = one.unbilled_minimums
    return Closing(agreed.since, agreed.ends_at, waiting, agreed, one.zone, "its end")


def least_until(one: Subscription, until: datetime) -> int:
    """The least that its running period comes to until then: each minimum for the time it held.

    While `unpaid` it serves nothing: its time until it became so counts.
    """
    if one.status not in ("active", "past_due", "unpaid"):
        return 0
    until = min(until, one.served_until or until)
    if until <= one.current_period_start:
        return 0
    since, before, _ = _held(one)
    part = _rest(one, since) - _rest(one, max(since, until))
    return before + round_exact((one.minimum_minor or 0) * part)


def held_from(one: Subscription, at: datetime) -> dict[str, Any]:
    """The fields by which another minimum holds from an instant of the running period on: the least
    of the time until then is owed.
    """
    until, (_, _, share) = min(at, one.current_period_end), _held(one)
    goes_on = share is not None and until < one.current_period_end
    return {
        "minimum_since": until,
        "minimum_before_minor": least_until(one, until) or None,
        "minimum_share": str(_rest(one, until)) if goes_on else None,
    }


def spread(one: Subscription) -> dict[str, Any]:
    """The fields by which its period comes to no more at least though it gets days now: what the
    minimum asks for the time that it holds is that of all this time.
    """
    if one.status == "trialing":
        return {}
    since, before, _ = _held(one)
    return {
        "minimum_since": since,
        "minimum_before_minor": before or None,
        "minimum_share": str(_rest(one, since)),
    }


def _held(one: Subscription) -> tuple[datetime, int, Fraction | None]:
    """The instant of the running period from which its minimum holds, and the least of the time
    before it; where days were given, the part of a whole minimum that the time since comes to.
    """
    since, start = one.minimum_since, one.current_period_start
    share = Fraction(one.minimum_share) if one.minimum_share else None
    # Those of a period before are left as they were.
    if since is None or since < start or (since == start and share is None):
        return start, 0, None
    return since, one.minimum_before_minor or 0, share


def _rest(one: Subscription, at: datetime) -> Fraction:
    """The part of a whole minimum that the time from `at` to the end of the period comes to."""
    since, _, share = _held(one)
    if share is None:
        return spans.rest_of_period(one, at)
    return share * proration.rest(since, one.current_period_end, at)


def lines(
    w: Work[SubscriptionFacts], period: Closing | None, used: Sequence[Line]
) -> tuple[Line, ...]:
    """The lines that bring a period, and a commitment that is over, to their least.

    `used` are the lines for use on the same invoice.
    """
    if period is None:
        return ()
    subscription = w.rows.get(Subscription, w.facts.subscription_id)
    if subscription.minimums_unbilled:
        w.change(subscription, minimums_unbilled=[])
    found = [line for one in period.minimums for line in _least(w, period, one, used)]
    agreed = period.commitment
    if agreed is not None and (period.by == "an end" or period.end >= agreed.ends_at):
        found += _committed(w, period, agreed, (*used, *found))
    return tuple(found)


def _least(
    w: Work[SubscriptionFacts], period: Closing, minimum: Minimum, used: Sequence[Line]
) -> list[Line]:
    since, until = minimum.since, minimum.until
    # Where nothing follows, what was charged at its last instant is its own, too.
    last = period.by in _STOPS and since == period.start
    spent = _spent(w, used, since, FOREVER if last else until)
    span = periods.spoken_span(since, until, period.zone)
    words = f"Minimum, {span}"
    return _missing(MINIMUM, words, (since, until), minimum.least_minor, spent)


def _committed(
    w: Work[SubscriptionFacts], period: Closing, agreed: Commitment, new: Sequence[Line]
) -> list[Line]:
    """The commitment is over: what was spent less is charged, unless an early end forgives it."""
    subscription = w.rows.get(Subscription, w.facts.subscription_id)
    if subscription.committed == agreed:  # the next contract may have come with its own
        w.change(subscription, commitment=None)
    if period.end < agreed.ends_at and agreed.on_early_end == "forgive":
        return []
    spent = _spent(w, new, agreed.since, max(period.end, agreed.ends_at))
    span = periods.spoken_span(agreed.since, agreed.ends_at, period.zone)
    words, closed = f"Commitment, {span}", (period.start, period.end)
    return _missing(COMMITMENT, words, closed, agreed.amount_minor, spent)


def rest(least_minor: int, spent_minor: int) -> int:
    """The missing part: nothing where as much was spent."""
    return max(0, least_minor - spent_minor)


def _missing(
    kind: str, words: str, time: tuple[datetime, datetime], least_minor: int, spent_minor: int
) -> list[Line]:
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
            detail={"least_minor": least_minor, "spent_minor": spent_minor},
        )
    ]


def _spent(
    w: Work[SubscriptionFacts], used: Sequence[Line], since: datetime, until: datetime
) -> int:
    """The sum charged for the time from `since` to `until`."""
    here = {one.id for one in w.rows.of(Invoice)}
    known = [*(one for one in w.facts.spent if one.invoice_id not in here), *_charged(w)]
    new = (one for one in used if one.period_start is None or since <= one.period_start < until)
    return sum_spent(known, since, until) + sum(one.amount_minor for one in new)


def _charged(w: Work[SubscriptionFacts]) -> Iterator[Spent]:
    """The lines among the rows."""
    for invoice in w.rows.of(Invoice):
        if invoice.subscription_id != w.facts.subscription_id or invoice.status not in CHARGED:
            continue
        notes = [
            one
            for one in w.rows.of(CreditNote)
            if one.invoice_id == invoice.id and not one.was_served
        ]
        noted = sum(one.amount_minor for one in notes)
        named = Counter[int]()
        for part in (part for one in notes for part in one.lines):
            named[part["position"]] += part["amount_minor"]
        for line in invoices.lines_of(w.rows, invoice.id):
            yield Spent(
                invoice_id=invoice.id,
                at=_since(line) or invoice.created_at,
                net_minor=line.amount_minor - line.discount_minor,
                total_minor=line.total_minor,
                named_minor=named[line.position],
                spread_minor=noted - named.total(),
                rest_minor=invoice.total_minor - named.total(),
            )


def _since(line: InvoiceLine) -> datetime | None:
    """The beginning of the time that a line charges, or gives back."""
    credited = line.detail.get("since")
    return line.period_start or (datetime.fromisoformat(credited) if credited else None)
