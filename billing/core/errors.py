"""The closed family of errors, each with a stable code for callers.

The API turns them into problem+json; activities map `retryable` to Temporal's retry decision.
"""

from typing import Any, ClassVar

from billing.core.error_codes import CODES


class BillingError(Exception):
    """A refusal with a stable UPPER_SNAKE `code`, a sentence, and fields for the problem body.

    Its code has its status in `CODES`, and the sentence of an error that has none of its own.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self, code: str, detail: str | None = None, /, *, status: int | None = None, **fields: Any
    ) -> None:
        self.code = code
        self.detail = CODES[code].detail if detail is None else detail
        super().__init__(f"{code}: {self.detail}")
        self.http_status = status or CODES[code].status
        self.fields = fields


class NotFound(BillingError):
    """The object does not exist, or belongs to another account: callers cannot tell which."""


class NotAllowed(BillingError):
    """The caller is known but may not do this."""


class Invalid(BillingError):
    """The request can never succeed unchanged."""


def wrong_field(field: str, why: str) -> Invalid:
    """Return the refusal of one field, named as a refused body or parameter names its fields."""
    errors = [{"field": field, "message": why}]
    return Invalid("VALIDATION_FAILED", f"{field}: {why}", errors=errors)


class Conflict(BillingError):
    """The object's current state does not allow this."""


class PaymentRequired(BillingError):
    """Money or credits are missing: a decline, an empty balance."""


class ProviderFailure(BillingError):
    """The payment provider refused, and it is proven that nothing was charged."""

    is_repeated = False
    """True if the provider repeats a refusal that it has stored under the call's key."""


class Unavailable(BillingError):
    """A part of the stack is unavailable. A write may have been done; the caller repeats it with
    the same key.
    """

    retryable = True
