"""Refunds as rows; amounts in ISO minor units."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.matters.effects import Row

RefundStatus = Literal["pending", "processing", "succeeded", "failed"]


class Refund(Row):
    """A row of `refunds`: money of one payment on its way back to the payer."""

    TABLE: ClassVar[str] = "refunds"

    account_id: UUID
    payment_id: UUID
    invoice_id: UUID
    key: str
    status: RefundStatus
    amount_minor: int
    currency: str
    reason: str
    stripe_refund_id: str | None = None
    failure: str | None = None
    asked_at: AwareDatetime | None = None
    checks: int = 0
    last_check_at: AwareDatetime | None = None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None

    @property
    def is_finished(self) -> bool:
        """True once the money is back, or will not come back by this refund."""
        return self.status in ("succeeded", "failed")
