"""Holds: credits set aside for expensive work, spent according to its actual usage.

A hold that is not captured inside its `with` block is released: nothing is spent by accident.
"""

import logging
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Protocol, Self, Unpack, cast

from durable_billing.answers import Bill, Capture, HoldState
from durable_billing.errors import BillingClientError, BillingProblem
from durable_billing.events import Amount, Use, UseDetail, amount_text

_logger = logging.getLogger("durable_billing")


class Client(Protocol):
    """The calls of the client that a hold uses."""

    def record_now(self, usage_amount: Amount, **use: Unpack[Use]) -> Bill:
        """Record a use and return its bill."""

    def capture_hold(
        self, hold_id: str, amount: Amount | None = None, *, detail: Mapping[str, str] | None = None
    ) -> Capture:
        """Spend a hold or a part of it."""

    def release_hold(self, hold_id: str) -> HoldState:
        """Release a hold."""


class Hold:
    """An open hold; `state` is its state when it was created. Use it in a `with` block."""

    def __init__(self, client: Client, state: HoldState) -> None:
        self._client = client
        self.state = state
        self.capture_answer: Capture | None = None
        """The capture's answer, once there is one."""
        self._ended = False
        self._exceeded = False

    @property
    def id(self) -> str:
        """`hold_…`"""
        return self.state.hold_id

    def capture(self, amount: Amount | None = None, **detail: str) -> Capture | None:
        """Spend this many credits, by default the whole hold; the rest is released.

        Zero releases the hold and returns None. The ledger entry keeps `detail`. Errors:
        BillingProblem HOLD_EXCEEDED, HOLD_RESOLVED; BillingUnreachable: capturing the same amount
        with the same detail again is safe.
        """
        text = None if amount is None else amount_text(amount, zero=True, name="amount")
        if text is not None and not Decimal(text):
            self.release()
            return None
        try:
            self.capture_answer = self._client.capture_hold(self.id, text, detail=detail)
        except BillingClientError as error:
            # The capture may have succeeded: releasing now could give away what was used.
            self._ended = self._ended or error.outcome_unknown
            raise
        self._ended = True
        return self.capture_answer

    def capture_usage(
        self, product_id: str, usage_amount: Amount, **use: Unpack[UseDetail]
    ) -> Bill:
        """Record a use of a product, paid by this hold; the rest of the hold is released.

        The use is counted and rated like any other; nothing is spent if the plan or free units
        cover it. A repeated call is the same use. A use that costs more than the hold is paid from
        other credits, or left pending when they are not enough. Errors: BillingProblem, with the
        hold unchanged; BillingUnreachable: calling again is safe.
        """
        event = cast(Use, {"event_id": f"hold/{self.id}", **use, "product_id": product_id})
        if self._exceeded:
            return self._beyond(usage_amount, event)
        paid: Use = {**event, "hold_id": self.id}
        try:
            bill = self._client.record_now(usage_amount, **paid)
        except BillingClientError as error:
            if isinstance(error, BillingProblem) and error.code == "HOLD_EXCEEDED":
                return self._beyond(usage_amount, event)
            self._ended = self._ended or error.outcome_unknown
            raise
        self._ended = True
        return bill

    def _beyond(self, usage_amount: Amount, event: Use) -> Bill:
        """Record a use that exceeds the hold without the hold, because it has already happened.

        A repeated call continues here, because a released hold can no longer pay.
        """
        self._exceeded = True
        if self.state.status == "open":
            _logger.warning("%s was too small for what was used: other credits pay", self.id)
            self._release_if_open()
        deferred: Use = {**event, "on_insufficient": "defer"}
        return self._client.record_now(usage_amount, **deferred)

    def _release_if_open(self) -> None:
        try:
            self.release()
        except BillingProblem as error:
            # It may have expired meanwhile: then there is nothing to release.
            if error.code != "HOLD_RESOLVED":
                raise
            self._ended = True

    def release(self) -> HoldState:
        """Release the whole hold; a second call changes nothing."""
        self.state = self._client.release_hold(self.id)
        self._ended = True
        return self.state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended:
            return
        try:
            self.release()
        except BillingClientError as trouble:
            _logger.warning("%s could not be released, it expires by itself: %s", self.id, trouble)
