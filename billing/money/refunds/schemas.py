"""Refunds as rows; amounts in ISO minor units."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.money.invoices.schemas import ReversalClaim

RefundStatus = Literal["pending", "processing", "succeeded", "failed"]
Way = Literal["provider", "outside", "balance"]


class Refund(ReversalClaim):
    """A row of `refunds`: money of one payment on its way back to the payer."""

    TABLE: ClassVar[str] = "refunds"

    account_id: UUID
    payment_id: UUID
    key: str
    status: RefundStatus
    way: Way = "provider"
    amount_minor: int
    balance_minor: int = 0
    wanted_minor: int = 0
    currency: str
    reason: str
    reference: str | None = None
    stripe_refund_id: str | None = None
    failure: str | None = None
    asked_at: AwareDatetime | None = None
    checks: int = 0
    last_check_at: AwareDatetime | None = None
    created_at: AwareDatetime
    booked_at: AwareDatetime | None = None
    credits: list[dict[str, str]] = Field(default_factory=list)
    finished_at: AwareDatetime | None = None
    keep_subscription: bool = False
    keep_credits: bool = False

    @property
    def is_finished(self) -> bool:
        """True once the refund has succeeded or failed."""
        return self.status in ("succeeded", "failed")

    @property
    def own_minor(self) -> int:
        """The part that was money of the payment: the whole amount."""
        return self.amount_minor

    @property
    def short_minor(self) -> int:
        """The part for which a credit note still lacks room."""
        return max(0, self.wanted_minor - self.note_minor) if self.takes_room else 0

    @property
    def takes_room(self) -> bool:
        """True while its money went back or is on its way; a failed refund frees its room."""
        return self.status != "failed"

    @property
    def is_reserved(self) -> bool:
        """True while its note is still to be written."""
        return self.takes_room and self.booked_at is None
