"""The closed family of things that can go wrong, each with a stable code for callers.

The API turns them into problem+json; activities turn `retryable` into Temporal's own decision.
"""

from typing import Any, ClassVar


class BillingError(Exception):
    """A refusal with a stable UPPER_SNAKE `code`, a sentence, and fields for the problem body."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, code: str, detail: str, *, status: int | None = None, **fields: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.http_status = status or self.status
        self.fields = fields


class NotFound(BillingError):
    """The thing does not exist, or belongs to another account (told apart by nobody)."""

    status = 404


class NotAllowed(BillingError):
    """The caller is known but may not do this."""

    status = 403


class Invalid(BillingError):
    """The request can never succeed as it is."""

    status = 422


class Conflict(BillingError):
    """The state of the thing refuses this now."""

    status = 409


class PaymentRequired(BillingError):
    """Money or credits are missing: a decline, an empty balance."""

    status = 402


class ProviderFailure(BillingError):
    """The payment provider refused, and it is proven that nothing was charged."""

    status = 502


class Unavailable(BillingError):
    """A part of the stack is away; nothing was committed, so the caller may repeat."""

    status = 503
    retryable = True
