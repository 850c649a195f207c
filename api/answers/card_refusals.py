"""Maps a failed card attempt to the error the caller receives."""

from billing.core.errors import BillingError, Conflict, PaymentRequired, ProviderFailure
from billing.money.payments.card_rules import WORDS
from billing.money.payments.rules import (
    CHARGE_REFUSED,
    NOT_OPENED,
    PAID_OTHERWISE,
    PROVIDER_REFUSED,
)
from billing.money.payments.schemas import Attempt


def not_opened() -> ProviderFailure:
    """Return the error for a payment that the provider refused to open."""
    return ProviderFailure("PLATFORM_ERROR", NOT_OPENED)


def refusal(attempt: Attempt) -> BillingError | None:
    """Return the error for a failed attempt; None for any other, also for one whose payer has used
    another card.
    """
    if attempt.decline_code == PAID_OTHERWISE:
        return None
    if attempt.status == "unreached" and attempt.decline_code == PROVIDER_REFUSED:
        return not_opened()
    if attempt.status == "unreached" and attempt.decline_code == CHARGE_REFUSED:
        return ProviderFailure(
            "PLATFORM_ERROR", "the payment provider refused the charge: nothing was taken"
        )
    if attempt.status == "unreached":
        return ProviderFailure(
            "PLATFORM_ERROR",
            "the payment provider failed or could not be reached, and knows of no charge; one that"
            " still arrives pays the invoice",
        )
    if attempt.status == "skipped" and attempt.decline_code == "no_payment_method":
        return Conflict("PAYMENT_METHOD_REQUIRED")
    if attempt.status == "skipped" and attempt.decline_code == "currency_not_charged":
        return Conflict(
            "CURRENCY_NOT_CHARGED", "this bank account cannot be charged in that currency"
        )
    if attempt.status not in ("declined", "skipped"):
        return None
    code = attempt.decline_code or ""
    return PaymentRequired(
        "CARD_DECLINED",
        attempt.message or WORDS.get(code, f"the card was not tried: {code}"),
        decline_code=attempt.decline_code,
        decline_class=attempt.decline_class or "hard",
    )
