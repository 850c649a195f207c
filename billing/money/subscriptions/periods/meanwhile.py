"""Use of a plan while a change of it waits for its payment. Pure.

The change credits time that was unused when it was requested. Time used until the money came, or
whose credits were spent, is billed as the change is applied, or left out of a note; its credits
stay (docs/rules.md#subscriptions).
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from billing.matters.effects import Rows, Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import PRORATION, Invoice, InvoiceLine, Line
from billing.money.invoices.sums import USED_MEANWHILE
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import (
    cycles,
    items,
    plan_credits,
    portions,
    proration,
    spans,
)
from billing.money.subscriptions.schemas import Note, SubscriptionChange, Terms


class Span(NamedTuple):
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


def settled(
    w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice
) -> tuple[Terms, list[Line]]:
    """Return the terms to apply, and the charges for use since they were requested.

    Call it while the subscription still has its old plan.
    """
    asked = change.new_terms
    terms = _of_this_cycle(w, asked, invoice)
    used = _span(w, terms)
    if used is not None:
        terms = _less(w, terms, used)
    if terms != asked:
        w.change(change, terms=terms.model_dump(mode="json"))
    return terms, _lines(w, invoice, used) if used is not None else []


def _of_this_cycle(w: Work[SubscriptionFacts], asked: Terms, invoice: Invoice) -> Terms:
    """Return the terms for a cycle of the period that has begun since they were requested.

    The new price is charged for all of that cycle, the old one for nothing: so all credits of the
    new plan are granted, and all that the cycle began with are clawed back. Units of the add-ons
    and the plan in the previous cycle were billed with that.
    """
    subscription, plan = cycles.of(w), w.facts.plans[asked.plan_id]
    if asked.cycle_start in (None, subscription.cycle_start):
        return asked
    after = subscription
    if asked.resets and invoice.period_start is not None:
        after = spans.anew(subscription, invoice.period_start, asked.interval, plan.allowance)
    given = plan_credits.of_plan(after, plan, asked.quantity, after.cycle_start)
    gone = plan_credits.that_go(w, subscription.cycle_start)
    moved: dict[str, Any] = {"credits": given - gone, "credits_refunded": plan_credits.missing(w)}
    if asked.resets:
        return asked.model_copy(update=moved | {"credits_replaced": gone})
    none = tuple(one.model_copy(update={"units": Decimal(0)}) for one in asked.portions)
    told = {"cycle_start": subscription.cycle_start, "portions": none, "stay_beyond": {}}
    told |= {"credits_before": cycles.cycle_credits(w, subscription)}
    return asked.model_copy(update=told | moved)


def _span(w: Work[SubscriptionFacts], terms: Terms) -> Span | None:
    subscription, credited = cycles.of(w), terms.credited_since
    if credited is None:
        return None
    start = max(credited, subscription.cycle_start)
    used = spans.used_until(subscription, w.facts.used_share, start)
    end = max(used, _spent_until(w, terms, start))
    return Span(credited, start, end) if end > start else None


def _spent_until(w: Work[SubscriptionFacts], terms: Terms, start: datetime) -> datetime:
    """Return the instant from which no more credits would have to be clawed back than are left."""
    whole = Fraction(items.credits_of(w)) * plan_credits.kept_part(w)
    if not whole or plan_credits.are_there(w, -terms.credits):
        return start
    left = plan_credits.unspent(w) + terms.credits + plan_credits.of_rest(w, start)
    return spans.used_but(cycles.of(w), w.facts.plan_of(w.rows).allowance, Fraction(left) / whole)


def _less(w: Work[SubscriptionFacts], terms: Terms, used: Span) -> Terms:
    """Return the terms with lower notes, the old plan's credits of that time, and its units if its
    cycle continues.
    """
    kept = plan_credits.of_rest(w, used.start) - plan_credits.of_rest(w, used.end)
    notes = tuple(_lower(w, one, used) for one in terms.notes)
    own = terms.portions
    if not terms.resets:
        own += portions.of_own(w, used.start, used.end)
    fields = {"notes": notes, "portions": own, "credits": terms.credits + kept}
    if terms.resets:
        fields["credits_replaced"] = max(Decimal(0), terms.credits_replaced - kept)
    return terms.model_copy(update=fields)


def _lines(w: Work[SubscriptionFacts], invoice: Invoice, used: Span) -> list[Line]:
    """Return charges for all that the change's invoice credited of that time."""
    known = {str(one.id): one for one in w.rows.of(InvoiceLine)}
    found = []
    for credit in invoices.lines_of(w.rows, invoice.id):
        source = known.get(credit.detail.get("line", "")) if credit.kind == PRORATION else None
        minor = proration.share(-credit.amount_minor, used.part(w.rows, source)) if source else 0
        if source is not None and minor > 0:
            words = f"Used while the change waited: {source.description}"
            found.append(_line(w, words, minor, used))
    return found


def _line(w: Work[SubscriptionFacts], words: str, minor: int, used: Span) -> Line:
    plan = w.facts.plan_of(w.rows)
    return Line(
        kind=USED_MEANWHILE,
        description=words,
        unit_amount=Decimal(minor),
        amount_minor=minor,
        period_start=used.start,
        period_end=used.end,
        sold=plan.key,
        tax_category=plan.tax_category,
    )


def _lower(w: Work[SubscriptionFacts], note: Note, used: Span) -> Note:
    source = _plan_line(w, note.invoice_id)
    part = used.part(w.rows, source) if source is not None else Fraction(0)
    less = proration.share(note.amount_minor, part)
    return note.model_copy(update={"amount_minor": note.amount_minor - less})


def _plan_line(w: Work[SubscriptionFacts], invoice_id: UUID) -> InvoiceLine | None:
    found = (one for one in invoices.lines_of(w.rows, invoice_id) if one.kind == items.PLAN)
    return next(found, None)
