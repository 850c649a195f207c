"""The notice that a card expires before the renewal it should pay. Pure."""

from datetime import timedelta
from typing import Final

from billing.core import ids
from billing.matters.effects import Work
from billing.money.payment_methods.rules import card_facts, expiry, expiry_is_untold, valid_until
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import items
from billing.money.subscriptions.rules import ExpiringCard
from billing.money.subscriptions.terms import scheduling

AHEAD: Final = timedelta(days=30)


def expiring(w: Work[SubscriptionFacts]) -> ExpiringCard | None:
    """Return the next charge's card if it expires before that and its owner was not notified."""
    card = _ends_too_soon(w)
    if card is None:
        return None
    method, ends = ids.encode(ids.PAYMENT_METHOD, card.id), expiry(card)
    due = subscription_of(w).current_period_end - AHEAD
    return ExpiringCard(expiry=f"{method}/expires-{ends}", due=due)


def notify(w: Work[SubscriptionFacts]) -> None:
    """Notify the owner, once per card and expiry."""
    card, renewal = _ends_too_soon(w), _renewal(w)
    if card is None:
        raise LookupError("no card ends before the renewal")
    w.change(card, told_expiry=expiry(card))
    subscription = subscription_of(renewal)
    facts = card_facts(card) | {
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "subscription_id": ids.encode(ids.SUBSCRIPTION, subscription.id),
        "plan": subscription.plan_key,
        "renews_at": subscription.current_period_end.isoformat(),
        "price_cents": items.next_period_price(renewal.rows),
        "currency": subscription.currency,
    }
    w.announce(card.account_id, "payment_method.expiring", facts["payment_method_id"], facts)
    w.result = f"{card.brand or card.kind} {card.last4 or ''} expires {expiry(card)}"


def _ends_too_soon(w: Work[SubscriptionFacts]) -> Method | None:
    row = subscription_of(w)
    card = payments.charged_card(w.rows, row.payment_method_id)
    if card is None or not expiry_is_untold(card):
        return None
    until = valid_until(card, row.zone)
    if until is None or until > row.current_period_end:
        return None
    return card if _charges(_renewal(w)) else None


def _charges(renewal: Work[SubscriptionFacts]) -> bool:
    row = subscription_of(renewal)
    is_due = items.next_period_price(renewal.rows) or row.minimum_minor
    return bool(is_due) and row.collection == "charge"


def _renewal(w: Work[SubscriptionFacts]) -> Work[SubscriptionFacts]:
    """Return the rows that the next period begins with, after what is scheduled and agreed."""
    return scheduling.coming(w, subscription_of(w).current_period_end)
