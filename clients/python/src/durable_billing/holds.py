"""Credits set aside around expensive work, spent by what it really used.

A hold that is not captured inside its `with` block is released: nothing is spent by accident.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, cast

from durable_billing.answers import Bill, Capture, HoldState
from durable_billing.connection import passes
from durable_billing.errors import BillingClientError, BillingProblem
from durable_billing.events import Amount, Use, amount_text

if TYPE_CHECKING:
    from durable_billing.client import BillingClient

_logger = logging.getLogger("durable_billing")


class UsedHold(TypedDict, total=False):
    """What may be told of a use beside its product and amount; the hold says how it is paid."""

    event_id: str
    user_id: str
    organization_id: str
    session_id: str
    request_id: str
    operation: str
    model: str
    occurred_at: datetime
    usage_details: Mapping[str, Any]


class Hold:
    """An open hold; `state` is as it was made. Use it in a `with` block."""

    def __init__(self, client: "BillingClient", state: HoldState) -> None:
        self._client = client
        self.state = state
        self.capture_answer: Capture | None = None
        """What was spent, once it was."""
        self._ended = False

    @property
    def id(self) -> str:
        """`hold_…`"""
        return self.state.hold_id

    def capture(self, amount: Amount | None = None, **detail: str) -> Capture | None:
        """Spend this many credits, all of the hold when left out; the rest is free again.

        Zero spends nothing and releases the hold: None. `detail` is kept with the ledger's entry.
        Errors: BillingProblem HOLD_EXCEEDED, HOLD_RESOLVED; BillingUnreachable: capture the same
        amount again, which is safe.
        """
        if amount is not None and Decimal(amount) == 0:
            self.release()
            return None
        text = None if amount is None else amount_text(amount)
        try:
            self.capture_answer = self._client.capture_hold(self.id, text, detail=detail)
        except BillingClientError as error:
            # It may have been carried out: releasing now could give away what was used.
            self._ended = passes(error)
            raise
        self._ended = True
        return self.capture_answer

    def capture_usage(self, product_id: str, usage_amount: Amount, **use: Unpack[UsedHold]) -> Bill:
        """Record a use of a product that this hold pays; the rest of the hold is free again.

        It is counted and rated like any use; nothing is spent where the plan or free units cover
        it. Called again it is the same use. One dearer than the hold is paid from the account's
        other credits, or left pending where they do not reach. Errors: BillingProblem, with the
        hold untouched; BillingUnreachable: call it again, which is safe.
        """
        event = cast(Use, {"event_id": f"hold/{self.id}", **use, "product_id": product_id})
        paid: Use = {**event, "hold_id": self.id}
        try:
            bill = self._client.record_now(usage_amount, **paid)
        except BillingProblem as error:
            if error.code != "HOLD_EXCEEDED":
                self._ended = passes(error)
                raise
            bill = self._beyond(usage_amount, event)
        except BillingClientError as error:
            self._ended = passes(error)
            raise
        self._ended = True
        return bill

    def _beyond(self, usage_amount: Amount, event: Use) -> Bill:
        """The use is made already: it is recorded, whoever pays it."""
        _logger.warning("%s was too small for what was used: other credits pay", self.id)
        self.release()
        deferred: Use = {**event, "on_insufficient": "defer"}
        return self._client.record_now(usage_amount, **deferred)

    def release(self) -> HoldState:
        """Free all of it; a second time changes nothing."""
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
            _logger.warning("%s could not be released, it lapses by itself: %s", self.id, trouble)
