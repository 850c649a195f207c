"""The notice that a card expires before the renewal it should pay. Pure."""

from datetime import timedelta
from typing import Final

from billing.core import ids
from billing.matters.effects import Rows, Work
from billing.money.payment_methods.rules import card_facts, expiry, expiry_is_untold, valid_until
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import cycles, items
from billing.money.subscriptions.rules import ExpiringCard
from billing.money.subscriptions.schemas import Subscription

AHEAD: Final = timedelta(days=30)


def expiring(rows: Rows, row: Subscription) -> ExpiringCard | None:
    """Return the next charge's card if it expires before that and its owner was not notified."""
    card = _ends_too_soon(rows, row)
    if card is None:
        return None
    method, ends = ids.encode(ids.PAYMENT_METHOD, card.id), expiry(card)
    return ExpiringCard(expiry=f"{method}/expires-{ends}", due=row.current_period_end - AHEAD)


def notify(w: Work[SubscriptionFacts]) -> None:
    """Notify the owner, once per card and expiry."""
    subscription = cycles.of(w)
    card = _ends_too_soon(w.rows, subscription)
    if card is None:
        raise LookupError("no card ends before the renewal")
    w.change(card, told_expiry=expiry(card))
    facts = card_facts(card) | {
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "subscription_id": ids.encode(ids.SUBSCRIPTION, subscription.id),
        "plan": subscription.plan_key,
        "renews_at": subscription.current_period_end.isoformat(),
        "price_cents": items.next_period_price(w.rows),
        "currency": subscription.currency,
    }
    w.announce(card.account_id, "payment_method.expiring", facts["payment_method_id"], facts)
    w.result = f"{card.brand or card.kind} {card.last4 or ''} expires {expiry(card)}"


def _ends_too_soon(rows: Rows, row: Subscription) -> Method | None:
    is_due = items.next_period_price(rows) or row.minimum_minor
    if not is_due or row.collection != "charge":
        return None
    card = payments.charged_card(rows, row.payment_method_id)
    if card is None or not expiry_is_untold(card):
        return None
    until = valid_until(card, row.zone)
    return card if until is not None and until <= row.current_period_end else None
