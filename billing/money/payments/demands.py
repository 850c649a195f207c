"""Checks before a charge: the buyer saw this price, and the card may pay."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.currencies import chargeable
from billing.core.errors import Conflict
from billing.money.payment_methods.rules import takes
from billing.money.payment_methods.schemas import Method
from billing.money.payments import card_rules
from billing.money.payments import store as payment_store


def demand_price(expected_minor: int | None, amount_minor: int, currency: str) -> None:
    """Refuse a price other than the buyer's expected one, if given: PRICE_CHANGED."""
    if expected_minor is not None and expected_minor != amount_minor:
        raise Conflict(
            "PRICE_CHANGED",
            amount_cents=amount_minor,
            currency=currency,
        )


def demand_chargeable(currency: str) -> None:
    """Refuse a currency that no card can pay in: CURRENCY_NOT_CHARGED."""
    if not chargeable(currency):
        raise Conflict("CURRENCY_NOT_CHARGED", f"cards cannot be charged in {currency}")


async def forbidden(
    connection: AsyncConnection, card: Method, at: datetime
) -> card_rules.Untried | None:
    """Return why a stored card may not be tried now; None: it may."""
    since = at - card_rules.ATTEMPT_WINDOW
    return card_rules.why_not(card, await payment_store.declines_of(connection, card, since))


async def demand_usable(
    connection: AsyncConnection, card: Method, currency: str, at: datetime
) -> None:
    """Refuse a card that may not be tried, without a provider call: CARD_DECLINED.

    CURRENCY_NOT_CHARGED for a bank account that cannot be charged in this currency.
    """
    if not takes(card, currency):
        raise card_rules.not_charged(currency)
    reason = await forbidden(connection, card, at)
    if reason is not None:
        raise card_rules.refusal(reason)
