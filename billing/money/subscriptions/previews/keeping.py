"""The promise of a preview, kept: an act is done exactly as it was shown. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

from billing.matters.effects import Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.previews import deciding, tokens
from billing.money.subscriptions.previews.tokens import Promise


def keep(
    promise: Promise,
    w: Work[SubscriptionFacts],
    act: Callable[[datetime], object],
    digest: Callable[[Work[SubscriptionFacts]], bytes] = deciding.digest_of,
) -> None:
    """Do an act as of its preview, exactly as it was shown. Errors: PREVIEW_EXPIRED; the act's."""
    subscription, as_of = subscription_of(w), promise.as_of
    is_old = not timedelta() <= w.facts.at - as_of < tokens.LIFETIME
    if promise.subscription_id != subscription.id or is_old:
        raise tokens.expired()
    act(as_of)
    if digest(w) != promise.digest:
        raise tokens.expired()
