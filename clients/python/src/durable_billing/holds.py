"""Credits set aside around expensive work, spent by what it really used.

A hold that is not captured inside its `with` block is released: nothing is spent by accident.
"""

import logging
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self

from durable_billing.answers import Capture, HoldState
from durable_billing.connection import passes
from durable_billing.errors import BillingClientError
from durable_billing.events import Amount, amount_text

if TYPE_CHECKING:
    from durable_billing.client import BillingClient

_logger = logging.getLogger("durable_billing")


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

    def capture_usage(self, product_id: str, usage_amount: Amount) -> Capture | None:
        """Spend what this much of a product costs by its price in credits, at most the hold.

        Nothing is spent where the plan or free units cover it. What the hold was too small for is
        logged, and kept in the entry's detail as `beyond_hold`.
        """
        quote = self._client.calculate(product_id, usage_amount)
        detail = {
            "product_id": product_id,
            "usage_amount": amount_text(usage_amount),
            "unit_price": f"{quote.unit_price:f}",
        }
        beyond = quote.total_cost - self.state.amount
        if beyond > 0:
            _logger.warning("%s was %s credits too small for what was used", self.id, beyond)
            detail["beyond_hold"] = f"{beyond:f}"
        return self.capture(min(quote.total_cost, self.state.amount), **detail)

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
