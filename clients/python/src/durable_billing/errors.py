"""The errors of the client, one class per cause.

BillingProblem carries the problem document of the API; the others say what to do.
"""

from collections.abc import Mapping
from typing import Any, Final

UNKNOWN_CODE: Final = "UNKNOWN"
"""The code of a refusal without a problem document, for example from a proxy."""

_IN_FLIGHT: Final = frozenset({"IDEMPOTENCY_IN_FLIGHT"})


class BillingClientError(Exception):
    """Anything this client raises."""

    retry_after_seconds: float | None = None
    """The pause that the API asked for, if any."""
    outcome_unknown: bool = False
    """True if the request, or an earlier try of it, may have been carried out."""


class BillingProblem(BillingClientError):
    """The API refused: `code` is stable, `correlation_id` finds the request in its logs."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        correlation_id: str | None = None,
        retry_after_seconds: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.correlation_id = correlation_id
        self.retry_after_seconds = retry_after_seconds
        self.fields = dict(fields or {})
        """The whole problem document, with the members of its code, such as `required`."""

    @property
    def passing(self) -> bool:
        """True when the same request may succeed later."""
        if self.status == 429:
            return self.code not in ("QUOTA_EXCEEDED", "BUDGET_EXCEEDED")
        return self.status in (408, 425) or self.status >= 500 or self.code in _IN_FLIGHT


class BillingUnreachable(BillingClientError):
    """There was no answer, or none that tells the result: the request may or may not have been
    carried out.
    """

    def __init__(self, words: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(words)
        self.retry_after_seconds = retry_after_seconds


class EventsPutOff(BillingClientError):
    """The API refuses some events for a temporary reason: they wait, others are sent."""


class InvalidEvent(BillingClientError, ValueError):
    """The event can never be recorded; nothing was stored."""


class SpoolFull(BillingClientError):
    """The spool has reached its maximum size: the API was unreachable for long, or is too slow."""


class SpoolBroken(BillingClientError):
    """The spool's file cannot be used."""


class ClientClosed(BillingClientError):
    """The client was closed, or was opened in the process this one was forked from."""
