"""Early ends and pauses: owed time that was not served is credited, and at an end paid time that
was not used goes to the money balance if that is requested. Pure.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final
from uuid import UUID

from billing.core import keys
from billing.core.errors import Conflict
from billing.core.money import ZERO
from billing.ledger.credits import verbs
from billing.matters.effects import Do, Work
from billing.money.dunning import settling
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import Invoice, InvoiceLine
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    granting,
    items,
    plan_credits,
    proration,
    shares,
    spans,
    unpaid_credits,
)
from billing.money.subscriptions.periods.proration import Credit
from billing.money.subscriptions.periods.unpaid_credits import BilledGrant

_CREDITS_SPENT: Final = (
    "the plan's credits are already spent; cancel at period_end, or now without a refund"
)


def take_back_unserved(
    w: Work[SubscriptionFacts],
    reason: str,
    *,
    paid_too: bool = False,
    as_of: datetime | None = None,
) -> None:
    """Credit what is owed for time that was not served, line by line, by the second.

    What is paid stays, unless `paid_too`: then it goes to the money balance. Time whose credits
    were granted unpaid and are spent counts as served; the unspent ones are clawed back.
    """
    since = _owed_until(w, as_of or w.facts.at, paid_too=paid_too)
    grants = unpaid_credits.grants(w)
    for invoice_id, unserved in _rest(w, since, is_paid=False).items():
        billed = w.rows.get(Invoice, invoice_id)
        amount = sum(one.total_minor for one in unserved)
        amount = amount if paid_too else min(amount, billed.remaining_minor)
        lines = proration.parts(unserved, subscription_of(w).zone)
        note = NewNote("unserved", amount, proration.NOT_SERVED, "unserved", lines)
        noted = settling.credit_note(w, billed, note, ends=reason)
        of_plan = any(one.line.kind == items.PLAN for one in unserved)
        if noted != billed and of_plan and not paid_too:
            _take_unpaid_credits(w, grants, reason)


def credit_rest(w: Work[SubscriptionFacts], reason: str, as_of: datetime | None) -> None:
    """Credit all unused time, paid or not, and claw back its credits; `as_of` is the instant of a
    preview. Errors: CREDITS_SPENT, PAYMENT_PENDING.
    """
    at = as_of or w.facts.at
    subscription, since = subscription_of(w), _since(w, at)
    proration.to_credit(w.rows, _charges(w, since), since)
    rest = _rest(w, since, is_paid=True)
    owed = _rest(w, _owed_until(w, at, paid_too=True), is_paid=False)
    take_back_unserved(w, reason, paid_too=True, as_of=at)
    for invoice_id, unused in rest.items():
        billed = w.rows.get(Invoice, invoice_id)
        amount = sum(one.total_minor for one in unused)
        lines = proration.parts(unused, subscription.zone)
        note = NewNote("canceled", amount, proration.NOT_USED, "canceled", lines)
        settling.credit_note(w, billed, note)
    if rest or owed:
        fewer = plan_credits.for_rest(w, since)
        if not plan_credits.can_be_clawed_back(w, fewer):
            raise Conflict("CREDITS_SPENT", _CREDITS_SPENT)
        plan_credits.take(w, fewer, "canceled", lambda n: keys.end_take_back(subscription.id, n))


def _since(w: Work[SubscriptionFacts], at: datetime) -> datetime:
    """Return the instant from which time counts as not used."""
    subscription = subscription_of(w)
    if subscription.kept_until is not None:
        return max(subscription.kept_until, at)
    served = subscription.served_until
    if served is not None and served < subscription.cycle_start:
        return served  # the cycle's use is included already
    return shares.used_until(subscription, w.facts.used_share, served or at)


def _owed_until(w: Work[SubscriptionFacts], at: datetime, *, paid_too: bool) -> datetime:
    """Return the instant from which owed time was not served.

    While `unpaid` nothing is served. Once that cycle is over, nobody can know what was spent since
    of credits granted before their payment: then all of that cycle counts as served.
    """
    subscription, unserved = subscription_of(w), subscription_of(w).served_until
    if unserved is None:
        return _since(w, at) if paid_too else spent_until(w, at)
    used = _since(w, at)
    if subscription.cycle_start <= unserved and at < subscription.cycle_end:
        return max(used, _by_credits(w) or used)
    # Time that was served up to the end of a cycle ends in that cycle.
    last, allowance = unserved - timedelta(microseconds=1), w.facts.plan_of(w.rows).allowance
    # Credits come at the start of a period that is not paid; those of its later cycles do not.
    begins, ends = subscription.current_period_start, subscription.current_period_end
    is_first = last < spans.cycle_end(subscription, allowance, begins, ends)
    came_unpaid = w.facts.owes_change or (w.facts.credits_at_start and is_first)
    if not (came_unpaid and items.credits_of(w)):
        return used
    return max(used, spans.cycle_end(subscription, allowance, last, at))


def spent_until(w: Work[SubscriptionFacts], at: datetime | None = None) -> datetime:
    """Return the instant from which time counts as not used; if credits were granted unpaid, no
    sooner than the unspent ones are the plan's credits for the rest.
    """
    since = _since(w, at or w.facts.at)
    return max(since, _by_credits(w) or since)


def _by_credits(w: Work[SubscriptionFacts]) -> datetime | None:
    """Return the instant from which the plan gives the credits left; None: none came unpaid."""
    subscription, plan = subscription_of(w), w.facts.plan_of(w.rows)
    grants = unpaid_credits.grants(w)
    given = [one for one in w.facts.lots if one.origin in grants]
    if not any(one.unpaid for one in grants.values()) or not items.credits_of(w):
        return None
    left = sum((one.unspent for one in given), ZERO)
    there = {one.origin for one in given}
    for grant_key, (invoice, *_) in grants.items():
        if grant_key not in there and invoice is not None and invoice.cycle_start is not None:
            left += granting.credits_billed(w, invoice)  # granted with the payment
    part = Fraction(left) / Fraction(items.credits_of(w))
    return shares.left_at_most(subscription, plan.allowance, part)


def _take_unpaid_credits(
    w: Work[SubscriptionFacts], grants: Mapping[str, BilledGrant], reason: str
) -> None:
    """Claw back credits that were granted before they were paid, as far as they are left; the paid
    part of them stays, and is spent first.
    """
    lots = [one for one in w.facts.lots if one.origin in grants and grants[one.origin].unpaid]
    came = [(one.kept, grants[one.origin].unpaid) for one in lots]
    came += [(one.spent, one.unpaid) for one in grants.values()]
    left = sum((proration.credits_share(amount, part) for amount, part in came), ZERO)
    for one in reversed(lots):
        amount = min(left, one.unspent)
        if amount > 0:
            left -= amount
            taken: verbs.NewClawback = {
                "account_id": subscription_of(w).account_id,
                "grant_key": one.grant_key,
                "amount": amount,
                "key": keys.unserved_take_back(one.grant_key),
                "reason": reason,
            }
            w.do(Do(verbs.CLAWBACK, taken))


def _rest(
    w: Work[SubscriptionFacts], since: datetime, *, is_paid: bool
) -> dict[UUID, list[Credit]]:
    """Return the charges for the time after `since`, by invoice: of paid ones, or of unpaid."""
    rest: dict[UUID, list[Credit]] = {}
    for one in proration.unused(w.rows, _charges(w, since), since):
        if one.is_paid == is_paid:
            rest.setdefault(one.line.invoice_id, []).append(one)
    return rest


def _charges(w: Work[SubscriptionFacts], since: datetime) -> list[InvoiceLine]:
    return proration.current(w.rows, (items.PLAN, items.ADD_ON), since)
