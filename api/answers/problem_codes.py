"""What only the API needs to know of error codes: where they appear, and when they are temporary.

Routes list the codes they may answer with `problems.responses`.
"""

from typing import Final

from billing.core.error_codes import CODES

NOT_OF_A_ROUTE: Final[dict[str, str]] = {
    "METHOD_NOT_ALLOWED": "any path, for an unsupported method",
    "HEADER_TOO_LARGE": "any path, before it is read",
    "CREDITED_BEFORE": "`refused` of `undo_price`",
    "NOTHING_OVERDUE": "`refused` of `steer_subscriptions`",
    "PRICE_NOT_OFFERED": "no route: a subscription that changed meanwhile is skipped",
    "TRIAL_NOT_FOUND": "the error text of a halted matter",
    "STEP_DONE": "the error text of a halted matter",
}
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
