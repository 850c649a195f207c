"""An end before its time: what is paid and not used goes to the money balance. Pure."""

from collections import Counter
from uuid import UUID

from billing.core import keys
from billing.matters.effects import Work
from billing.money.invoices import notes
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import cycles, items, new_terms, proration, spans
from billing.money.subscriptions.facts import SubscriptionFacts


def credit_rest(w: Work[SubscriptionFacts]) -> None:
    """A note on each paid invoice for what is not used of it, and its credits go; the end itself
    takes back what is not paid. Errors: CREDITS_SPENT.
    """
    subscription = cycles.of(w)
    since = spans.used_until(subscription, w.facts.used_share, w.facts.at)
    rest = Counter[UUID]()
    lines = proration.current(w.rows, (items.PLAN, items.ADD_ON), since)
    for one in proration.unused(w.rows, lines, since):
        if one.is_paid:
            rest[one.line.invoice_id] += one.total_minor
    for invoice_id, amount_minor in rest.items():
        billed = w.rows.get(Invoice, invoice_id)
        notes.credit_note(w, billed, amount_minor, proration.NOT_USED, "canceled")
    if rest:
        part = spans.rest_of_cycle(subscription, w.facts.plan_of(w.rows).allowance, since)
        fewer = proration.credits_share(items.credits_of(w), part)
        new_terms.demand_unspent(w, fewer)
        new_terms.take_credits(
            w, fewer, "canceled", lambda n: keys.end_take_back(subscription.id, n)
        )
