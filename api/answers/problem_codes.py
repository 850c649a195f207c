"""Facts about error codes for the API alone: where they appear, and when they are temporary.

Routes list the codes they may answer with `problems.responses`.
"""

from typing import Final

from billing.core.error_codes import CODES

_OF_A_STEP: Final = "the error text of a halted matter"
_OF_A_COMMAND: Final = "a command in the Temporal UI"
NOT_OF_A_ROUTE: Final[dict[str, str]] = {
    "METHOD_NOT_ALLOWED": "any path, for an unsupported method",
    "HEADER_TOO_LARGE": "any path, before it is read",
    "CREDITED_BEFORE": "`refused` of `undo_price`",
    "NOTHING_OVERDUE": "`refused` of `steer_subscriptions`",
    "PRICE_NOT_OFFERED": "no route: a subscription that changed meanwhile is skipped",
    **dict.fromkeys(
        (
            "TRIAL_NOT_FOUND", "STEP_DONE", "BILLING_DISABLED", "PROVIDER_KEY",
            "PROVIDER_UNAVAILABLE", "PROVIDER_SILENT", "PROVIDER_KEY_IN_USE",
            "PROVIDER_FAILURE_KEPT", "PROVIDER_KEY_REUSED", "PROVIDER_REFUSED",
            "PROVIDER_REFUSES_AMOUNT", "PROVIDER_HAS_NO_CUSTOMER", "PROVIDER_NOT_CANCELED",
            "PAYMENT_NOT_OPEN", "NO_ATTEMPT", "ATTEMPT_DECIDED", "PAYPAL_OFF",
        ),
        _OF_A_STEP,
    ),
    "UNKNOWN_COMMAND": _OF_A_COMMAND,
    "INVOICE_REQUIRED": _OF_A_COMMAND,
}  # fmt: skip
"""Codes that no route raises itself, and where they appear."""


def is_temporary(code: str) -> bool:
    """Return True for a refusal that ends by itself: the same request may succeed later."""
    return CODES[code].status >= 500 or code == "RATE_LIMITED"


# The code of each status where a route raises no specific one.
GENERIC: Final[dict[int, str]] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    422: "VALIDATION_FAILED",
    429: "RATE_LIMITED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
