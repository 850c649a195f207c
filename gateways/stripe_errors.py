"""The translation of the SDK's exceptions into what each proves about the call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import stripe

from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payments.declines import classify
from billing.money.payments.rules import Decline, Outcome
from gateways.provider import (
    AMOUNT,
    FAILURE_KEPT,
    KEY_IN_USE,
    KEY_REFUSED,
    KEY_REUSED,
    NO_CUSTOMER,
    SILENT,
)
from gateways.stripe_objects import intent_outcome

MISSING: Final = "resource_missing"
_AMOUNTS: Final = ("amount_too_small", "amount_too_large")


class Declined(Exception):
    """The bank, or Stripe on its behalf, has declined the charge."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Refusal(ProviderFailure):
    """Stripe's refusal with its error code, such as resource_missing."""

    def __init__(self, code: str, words: str, said: str | None) -> None:
        super().__init__(code, words)
        self.said = said

    @property
    def is_missing(self) -> bool:
        """Return True if Stripe knows no such object under our key."""
        return self.said == MISSING

    @property
    def of_method(self) -> Decline | None:
        """Return the refusal as a decline if the payment method is refused permanently."""
        if self.said is None or classify(None, self.said) != "hard":
            return None
        return Decline(code=self.said, message=self.detail)


class AlreadyDecided(Refusal):
    """The intent is past the state that the call needs: its own state counts."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn the SDK's exceptions into what they prove: declined, refused, or unknown."""
    try:
        yield
    except stripe.CardError as error:
        raise Declined(_declined(error)) from error
    except stripe.InvalidRequestError as error:
        words = f"Stripe refused the request: {error.user_message or error.code}"
        is_decided = error.code == "payment_intent_unexpected_state"
        refusal = (AlreadyDecided if is_decided else Refusal)(_refused(error), words, error.code)
        refusal.is_repeated = _is_repeated(error)
        raise refusal from error
    except stripe.AuthenticationError as error:
        raise Unavailable(KEY_REFUSED) from error
    except stripe.PermissionError as error:
        # Stripe names the right that the key lacks. Somebody may give it: what waits then goes on.
        words = f"Stripe does not allow this to our key: {error.user_message}"
        raise Unavailable(KEY_REFUSED, words) from error
    except stripe.IdempotencyError as error:
        raise ProviderFailure(
            KEY_REUSED, "Stripe has already received this key with other parameters"
        ) from error
    except stripe.StripeError as error:
        doubt = f"Stripe did not decide: {type(error).__name__}"
        raise Unavailable(_doubt(error), doubt) from error


def _refused(error: stripe.InvalidRequestError) -> str:
    if (error.code, error.param) == (MISSING, "customer"):
        return NO_CUSTOMER
    return AMOUNT if error.code in _AMOUNTS else "PROVIDER_REFUSED"


def _doubt(error: stripe.StripeError) -> str:
    if error.http_status == HTTPStatus.CONFLICT:
        return KEY_IN_USE
    if error.http_status is None:
        return SILENT
    failed = error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return FAILURE_KEPT if failed and _is_repeated(error) else "PROVIDER_UNAVAILABLE"


def _is_repeated(error: stripe.StripeError) -> bool:
    """Return True if Stripe marks the answer as one that it has stored under the key."""
    return (error.headers or {}).get("Idempotent-Replayed") == "true"


def _declined(error: stripe.CardError) -> Outcome:
    detail = error.error
    decline = Decline(
        code=error.code or "card_declined",
        decline_code=detail.decline_code if detail else None,
        message=error.user_message or "The card was declined.",
        advice=detail.advice_code if detail else None,
    )
    intent = detail.payment_intent if detail else None
    base = intent_outcome(intent) if intent is not None else Outcome(kind="declined")
    return base.model_copy(update={"kind": "declined", "decline": decline})
