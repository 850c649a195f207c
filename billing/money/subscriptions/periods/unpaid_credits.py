"""Plan credits that came before their payment: with a change by transfer. Pure."""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from billing.core import keys
from billing.core.money import ZERO
from billing.matters.effects import Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import giving_back
from billing.money.invoices.lost_money import unbacked
from billing.money.invoices.schemas import CreditNote, Invoice
from billing.money.refunds.remaining import reversals
from billing.money.refunds.schemas import Refund
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import granting, proration
from billing.money.subscriptions.schemas import SubscriptionChange


class AskedSum(NamedTuple):
    """The sum that an invoice has asked for, and the part of it that is not paid."""

    minor: int
    unpaid: Fraction


class BilledGrant(NamedTuple):
    """The invoice that bills a grant, and the part of the grant that is not paid."""

    invoice: Invoice | None
    unpaid: Fraction = Fraction(0)
    spent: Decimal = ZERO
    """Credits that count as spent of it: its change deducted them though they were spent."""


def parts(w: Work[SubscriptionFacts]) -> dict[str, Fraction]:
    """Return the part of each grant that is not paid, by its key."""
    return {key: one.unpaid for key, one in grants(w).items()}


def grants(w: Work[SubscriptionFacts]) -> dict[str, BilledGrant]:
    """Return the grants of the current cycle and of the changes of plan in it, by their keys.

    A change takes what is owed for unused time off the invoice before it, and asks for it by its
    own: that part is paid as far as the later invoice is.
    """
    granted = _granted(w)
    billed = {one.invoice.id: one.invoice for one in granted.values() if one.invoice is not None}
    found, later = dict[UUID, AskedSum](), AskedSum(0, Fraction(0))
    for invoice_id in sorted(billed, reverse=True):
        found[invoice_id] = later = _asked(w, billed[invoice_id], later)
    return {
        key: one._replace(unpaid=_unpaid(w, key, one.invoice, found[one.invoice.id]))
        if one.invoice is not None
        else one
        for key, one in granted.items()
    }


def _unpaid(w: Work[SubscriptionFacts], key: str, invoice: Invoice, asked: AskedSum) -> Fraction:
    """Return the part that is not paid of a grant's credits, without those that went with money
    that went back: that money has paid none of the others.
    """
    away = [one for one in reversals(w.rows, invoice) if _is_away(one)]
    if not asked.unpaid or not away:
        return asked.unpaid
    lots = [one for one in w.facts.lots if one.origin == key]
    kept, gone = sum(one.kept for one in lots), sum(one.missing for one in lots)
    # A customer who kept the credits was charged too high a price.
    too_much = sum(one.note_minor for one in away if isinstance(one, Refund) and one.keep_credits)
    price = Fraction(asked.minor - too_much)
    if gone:
        price *= Fraction(kept) / Fraction(kept + gone)
    paid = asked.minor * (1 - asked.unpaid) - sum(one.noted_minor for one in away)
    return 1 - min(Fraction(1), max(Fraction(0), paid) / price) if price > 0 else asked.unpaid


def _is_away(one: Refund | Dispute) -> bool:
    """True if its credits are clawed back: a refund's with its booking, a dispute's at once. They
    stay so if it fails, or is won, after it was booked.
    """
    return one.booked_at is not None or (isinstance(one, Dispute) and one.takes_room)


def _asked(w: Work[SubscriptionFacts], invoice: Invoice, later: AskedSum) -> AskedSum:
    """Return the sum that an invoice has asked for, by itself or by that of the `later` change."""
    noted = sum(
        one.amount_minor
        for one in w.rows.of(CreditNote)
        if one.invoice_id == invoice.id and one.reason == proration.NOT_USED
    )
    moved = min(noted, invoice.amount_credited_minor, later.minor)
    credited, lost = _credited(w, invoice)
    asked = invoice.total_minor - invoice.amount_credited_minor + moved + credited
    owed = invoice.outstanding_minor + moved * later.unpaid + lost
    # More than all of it is owed if an earlier debt was carried to it.
    return AskedSum(asked, min(Fraction(1), owed / asked) if asked > 0 else Fraction(0))


def _credited(w: Work[SubscriptionFacts], invoice: Invoice) -> tuple[int, int]:
    """Return what an invoice that begins a period credits for unused time of earlier ones, which
    has paid it, and the part of that whose money banks took.

    One within a period brings the difference of the credits alone: those that such money has paid
    for are still there.
    """
    if invoice.cycle_start is None:
        return 0, 0
    lines = giving_back.credited_by(w.rows, invoice).values()
    return sum(one.total_minor for one in lines), unbacked(w.rows, invoice)


def _granted(w: Work[SubscriptionFacts]) -> dict[str, BilledGrant]:
    """Return each grant with its invoice; the change that began the cycle replaces those before."""
    subscription, plan = subscription_of(w), w.facts.plan_of(w.rows)
    start, since = subscription.cycle_start, subscription.current_period_start
    billed = (one for one in w.rows.of(Invoice) if one.cycle_start == start)
    found = {
        granting.grant_key(subscription, plan.allowance, start): BilledGrant(next(billed, None))
    }
    for one in sorted(w.rows.of(SubscriptionChange), key=lambda one: one.id):
        came = one.decided_at if one.kind == "plan" and one.was_invoiced else None
        if came is not None and came >= since:
            asked = w.rows.find(Invoice, one.invoice_id)
            if asked is not None and asked.cycle_start == start:
                found.clear()
            found[keys.change_grant(one.id)] = BilledGrant(asked, spent=one.new_terms.credits_spent)
    return found
