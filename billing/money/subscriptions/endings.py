"""An end or a pause before its time: what is owed and not served is taken back, and at an end what
is paid and not used goes to the money balance where that is asked for. Pure.
"""

from collections import Counter
from datetime import datetime
from uuid import UUID

from billing.core import keys
from billing.matters.effects import Work
from billing.money.dunning import cases
from billing.money.invoices import notes
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import cycles, items, new_terms, proration, spans
from billing.money.subscriptions.facts import SubscriptionFacts


def take_back_unserved(w: Work[SubscriptionFacts], reason: str, *, paid_too: bool = False) -> None:
    """Notes against what is owed for time that was not served, line by line, by the second.

    What is paid stays, unless what is `paid_too` goes to the money balance.
    """
    for invoice_id, amount_minor in _rest(w, _since(w), is_paid=False).items():
        billed = w.rows.get(Invoice, invoice_id)
        amount = amount_minor if paid_too else min(amount_minor, billed.remaining_minor)
        noted = notes.credit_note(w, billed, amount, proration.NOT_SERVED, "unserved")
        if noted.status == "paid":
            cases.close_case(w, noted.id, "canceled", reason)


def credit_rest(w: Work[SubscriptionFacts], reason: str) -> None:
    """Notes for all that is not used, paid or not, and its credits go. Errors: CREDITS_SPENT."""
    subscription, since = cycles.of(w), _since(w)
    rest = _rest(w, since, is_paid=True)
    owed = _rest(w, since, is_paid=False)
    take_back_unserved(w, reason, paid_too=True)
    for invoice_id, amount_minor in rest.items():
        billed = w.rows.get(Invoice, invoice_id)
        notes.credit_note(w, billed, amount_minor, proration.NOT_USED, "canceled")
    if rest or owed:
        part = spans.rest_of_cycle(subscription, w.facts.plan_of(w.rows).allowance, since)
        fewer = proration.credits_share(items.credits_of(w), part)
        new_terms.demand_unspent(w, fewer)
        new_terms.take_credits(
            w, fewer, "canceled", lambda n: keys.end_take_back(subscription.id, n)
        )


def _since(w: Work[SubscriptionFacts]) -> datetime:
    """The instant from which its time counts as not used."""
    return spans.used_until(cycles.of(w), w.facts.used_share, w.facts.at)


def _rest(w: Work[SubscriptionFacts], since: datetime, *, is_paid: bool) -> Counter[UUID]:
    """The charges for the time after `since`, by the invoices that are paid, or are not."""
    rest = Counter[UUID]()
    lines = proration.current(w.rows, (items.PLAN, items.ADD_ON), since)
    for one in proration.unused(w.rows, lines, since):
        if one.is_paid == is_paid:
            rest[one.line.invoice_id] += one.total_minor
    return rest
