"""Refunds of an immediate end: credited money goes back over the payments that brought it. Pure.

The credit notes are those of an end with a credit. What no payment can refund stays on the money
balance (docs/rules/subscriptions.md).
"""

from collections import Counter
from uuid import UUID

from billing.matters.effects import Add, Work
from billing.money.invoices.schemas import BalanceEntry
from billing.money.payments.schemas import Payment
from billing.money.refunds import rests
from billing.money.subscriptions.announcements import common
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of


def credited_since(w: Work[SubscriptionFacts], place: int) -> Counter[UUID]:
    """Return the money that notes credited to the balance after that many effects, by invoice."""
    found = Counter[UUID]()
    added = (one.row for one in w.effects[place:] if isinstance(one, Add))
    for row in added:
        if isinstance(row, BalanceEntry) and row.kind == "credited" and row.invoice_id is not None:
            found[row.invoice_id] += row.amount_minor
    return found


def to_payers(w: Work[SubscriptionFacts], credited: Counter[UUID]) -> None:
    """Refund the credited sums to their payers, except what paid amounts owed meanwhile. What a
    payment under way brings later for nothing that is owed then goes the same way.
    """
    subscription = subscription_of(w)
    rests.promise(w, common(subscription))
    whole = credited.total()
    if not whole:
        return
    refunded = sum(_return(w, one, credited[one]) for one in sorted(credited, reverse=True))
    ended, currency = common(subscription), subscription.currency
    rests.announce(w, subscription.account_id, ended, whole, refunded, currency)


def _return(w: Work[SubscriptionFacts], invoice_id: UUID, most_minor: int) -> int:
    """Refund a sum over the payments of an invoice, newest first; return the refunded part."""
    mine = [one for one in w.rows.of(Payment) if one.invoice_id == invoice_id]
    found = 0
    for payment in sorted(mine, key=lambda one: (one.created_at, one.id), reverse=True):
        found += rests.give(w, payment, subscription_of(w).id, most_minor - found)
    return found
