"""Use of a plan and its add-ons while a change of them waits for its payment. Pure.

The change credits what was unused when it was requested: time of the plan, and add-ons whose units
it removes. What was used until the money came, or whose credits were spent, is billed as the change
is applied, or left out of a note; its credits and units stay (docs/rules/subscriptions.md). Those
of a plan that costs nothing do not.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from billing.core.money import ZERO
from billing.matters.effects import Remove, Rows, Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import PRORATION, Invoice, InvoiceLine, Line
from billing.money.invoices.sums import USED_MEANWHILE
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    free_time,
    items,
    plan_credits,
    portions,
    proration,
    refunded_credits,
    shares,
    spans,
)
from billing.money.subscriptions.schemas import Note, Portion, SubscriptionChange, Terms


class WaitedSpan(NamedTuple):
    """The part of the credited time that counts as used."""

    credited_since: datetime
    start: datetime
    end: datetime

    def part(self, rows: Rows, line: InvoiceLine) -> Fraction:
        """Return its share of a line's credit, by the line's time with added days."""
        if line.period_start is None or line.period_end is None:
            return Fraction(0)
        bounds = line.period_start, proration.end_of(rows, line.invoice_id, line.period_end)
        credited = proration.rest(*bounds, self.credited_since)
        used = proration.rest(*bounds, self.start) - proration.rest(*bounds, self.end)
        return min(Fraction(1), used / credited) if credited else Fraction(0)


class Used(NamedTuple):
    """The part that counts as used of all that a change credits."""

    span: WaitedSpan | None
    removed: Mapping[str, Portion]
    """By add-on, the units that the change removes from the cycle."""
    units: Mapping[str, Fraction]
    """By meter, the used share of these units."""
    was_free: bool
    """True if the plan of before costs nothing: no credits and units of it stay."""

    def part(self, rows: Rows, line: InvoiceLine) -> Fraction:
        """Return its share of a line's credit: of an add-on by its units, else by time."""
        own = self.removed.get(line.detail.get("add_on", ""))
        if own is not None:
            return self.units.get(own.meter, Fraction(0)) * Fraction(own.gone_of)
        return self.span.part(rows, line) if self.span is not None else Fraction(0)


def settled(
    w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice
) -> tuple[Terms, list[Line]]:
    """Return the terms to apply, and the charges for use since they were requested.

    Call it while the subscription still has its old plan and add-ons.
    """
    asked, before = change.new_terms, Work(w.rows.copy(), w.facts)
    before.rows.take(Remove(SubscriptionChange, change.id))
    terms = _of_this_cycle(before, asked, invoice)
    used = _used(before, terms, was_free=_was_free(before, change, invoice))
    terms = _with_use_billed(before, terms, used)
    if terms != asked:
        w.change(change, terms=terms.model_dump(mode="json"))
    return terms, _lines(w, change, invoice, used)


def _of_this_cycle(w: Work[SubscriptionFacts], asked: Terms, invoice: Invoice) -> Terms:
    """Return the terms for the cycle that runs now, if it began after they were requested.

    The new price is charged for all of that cycle, and the old one for none of it. So all credits
    of the new plan are granted, and all that the cycle began with are clawed back. Corrections of
    units do not apply: they were for the previous cycle, which has been billed.
    """
    subscription, plan = subscription_of(w), w.facts.plans[asked.plan_id]
    if asked.cycle_start in (None, subscription.cycle_start):
        return asked
    after = subscription
    if asked.resets and invoice.period_start is not None:
        begins = invoice.period_start
        after = spans.anew(subscription, begins, asked.interval, plan.allowance, asked.zone)
    given = plan_credits.of_plan(after, plan, asked.quantity, after.cycle_start)
    gone = plan_credits.deducted(w, asked, subscription.cycle_start)
    moved: dict[str, Any] = {"credits": given - gone, "credits_refunded": plan_credits.refunded(w)}
    if asked.resets:
        return asked.model_copy(update=moved | {"credits_replaced": gone})
    zero = {"units": ZERO, "gone": ZERO}
    none = tuple(one.model_copy(update=zero) for one in asked.portions)
    moved |= {
        "cycle_start": subscription.cycle_start,
        "portions": none,
        "stay_beyond": {},
        "units_gone": {},
        "credits_before": cycles.cycle_credits(w, subscription),
    }
    return asked.model_copy(update=moved)


def _was_free(w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice) -> bool:
    """True if the plan of before costs nothing; the change's own invoice charges the new one."""
    before = w.rows.copy()
    before.take(Remove(Invoice, invoice.id))
    return free_time.is_free(Work(before, w.facts), change.created_at)


def _used(w: Work[SubscriptionFacts], terms: Terms, *, was_free: bool) -> Used:
    removed = {one.add_on: one for one in terms.portions if one.add_on and one.gone}
    gone = defaultdict[str, Decimal](Decimal)
    for one in removed.values():
        gone[one.meter] += one.gone
    units = {}
    for known in w.facts.allowances:
        spent = known.spent_of(terms.units_gone.get(known.meter, ZERO))
        if spent:
            units[known.meter] = min(Fraction(1), Fraction(spent) / Fraction(gone[known.meter]))
    return Used(_span(w, terms, was_free=was_free), removed, units, was_free)


def _span(w: Work[SubscriptionFacts], terms: Terms, *, was_free: bool) -> WaitedSpan | None:
    subscription, credited = subscription_of(w), terms.credited_since
    if credited is None:
        return None
    start = max(credited, subscription.cycle_start)
    used = shares.used_until(subscription, w.facts.used_share, start)
    end = used if was_free else max(used, _spent_until(w, terms, start))
    return WaitedSpan(credited, start, end) if end > start else None


def _spent_until(w: Work[SubscriptionFacts], terms: Terms, start: datetime) -> datetime:
    """Return the instant up to which time counts as used because its credits were spent: for the
    time after it, no more credits must be clawed back than are left.
    """
    whole = Fraction(items.credits_of(w)) * refunded_credits.kept_part(w)
    if not whole or plan_credits.can_be_clawed_back(w, -terms.credits):
        return start
    left = plan_credits.unspent(w) + terms.credits + plan_credits.for_rest(w, start)
    return shares.left_at_most(
        subscription_of(w), w.facts.plan_of(w.rows).allowance, Fraction(left) / whole
    )


def _with_use_billed(w: Work[SubscriptionFacts], terms: Terms, used: Used) -> Terms:
    """Return the terms with lower notes, and with the old plan's credits for the used time. If its
    cycle continues, also with the old plan's units for that time and the used units of add-ons.
    """
    notes = tuple(_lower(w, one, used) for one in terms.notes)
    own = tuple(_with_used(one, used) for one in terms.portions)
    kept = _kept_credits(w, terms, used)
    if used.span is not None and not used.was_free and not terms.resets:
        own += portions.of_own(w, used.span.start, used.span.end)
    fields: dict[str, Any] = {
        "notes": notes,
        "portions": own,
        "credits": terms.credits + kept,
        "credits_replaced": max(ZERO, terms.credits_replaced - kept),
    }
    return terms.model_copy(update=fields)


def _kept_credits(w: Work[SubscriptionFacts], terms: Terms, used: Used) -> Decimal:
    """Return the old plan's credits that stay: those of used time. One without a price keeps the
    spent ones, as before the change: a price buys all credits of the new plan.
    """
    if not subscription_of(w).amount_minor:
        spent = terms.credits_replaced - plan_credits.unspent(w)
        return max(ZERO, spent) if terms.amount_minor else ZERO
    if used.span is None or used.was_free:
        return ZERO
    return plan_credits.for_rest(w, used.span.start) - plan_credits.for_rest(w, used.span.end)


def _with_used(one: Portion, used: Used) -> Portion:
    """Return a portion with the removed units that are used after all."""
    back = proration.units_share(one.gone, used.units.get(one.meter, Fraction(0)))
    return one.model_copy(update={"units": one.units + back}) if back else one


def _lines(
    w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice, used: Used
) -> list[Line]:
    """Return charges for all that the change's invoice credited of what is used."""
    known = {str(one.id): one for one in w.rows.of(InvoiceLine)}
    found = []
    for credit in invoices.lines_of(w.rows, invoice.id):
        source = known.get(credit.detail.get("line", "")) if credit.kind == PRORATION else None
        minor = proration.share(-credit.amount_minor, used.part(w.rows, source)) if source else 0
        if source is not None and minor > 0:
            words = f"Used while the change waited: {source.description}"
            bounds = change.created_at, source.period_end
            if used.span is not None and source.detail.get("add_on") not in used.removed:
                bounds = used.span.start, used.span.end
            found.append(_line(w, words, minor, *bounds))
    return found


def _line(
    w: Work[SubscriptionFacts], words: str, minor: int, start: datetime, end: datetime | None
) -> Line:
    plan = w.facts.plan_of(w.rows)
    return Line(
        kind=USED_MEANWHILE,
        description=words,
        unit_amount=Decimal(minor),
        amount_minor=minor,
        period_start=start,
        period_end=end,
        sold=plan.key,
        tax_category=plan.tax_category,
    )


def _lower(w: Work[SubscriptionFacts], note: Note, used: Used) -> Note:
    """Return the note without what is used of each line that it credits."""
    sources = {one.position: one for one in invoices.lines_of(w.rows, note.invoice_id)}
    left = []
    for one in note.lines:
        source, minor = sources.get(one["position"]), one["amount_minor"]
        used_part = used.part(w.rows, source) if source is not None else Fraction(0)
        left.append(one | {"amount_minor": minor - proration.share(minor, used_part)})
    lines = tuple(one for one in left if one["amount_minor"])
    amount_minor = sum(one["amount_minor"] for one in lines)
    return note.model_copy(update={"amount_minor": amount_minor, "lines": lines})
