"""Refunds as rows; amounts in ISO minor units."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from billing.money.invoices.schemas import ReversalClaim

RefundStatus = Literal["pending", "processing", "succeeded", "failed"]
Way = Literal["provider", "outside", "balance"]


class Refund(ReversalClaim):
    """A row of `refunds`: money of one payment on its way back to the payer."""

    TABLE: ClassVar[str] = "refunds"

    key: str
    status: RefundStatus
    way: Way = "provider"
    line: int | None = None
    reference: str | None = None
    stripe_refund_id: str | None = None
    failure: str | None = None
    asked_at: AwareDatetime | None = None
    checks: int = 0
    last_check_at: AwareDatetime | None = None
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
    def takes_room(self) -> bool:
        """True while its money went back or is on its way; a failed refund frees its room."""
        return self.status != "failed"

    @property
    def credited_minor(self) -> int:
        """The part that a credit note credits: of a refund that failed unbooked, nothing."""
        is_undone = not self.takes_room and self.booked_at is None
        return 0 if is_undone else self.note_minor

    @property
    def from_balance_minor(self) -> int:
        """The part taken from the money balance: a refund that failed has put it back."""
        return self.balance_minor if self.takes_room else 0
