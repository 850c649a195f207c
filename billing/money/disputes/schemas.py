"""Disputes as rows; amounts in ISO minor units."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.money.invoices.schemas import ReversalClaim

DisputeState = Literal["inquiry", "open", "won", "lost", "closed"]


class Dispute(ReversalClaim):
    """A row of `disputes`: money of one payment that its payer's bank demands back."""

    TABLE: ClassVar[str] = "disputes"

    account_id: UUID
    payment_id: UUID
    stripe_dispute_id: str
    status: str
    state: DisputeState
    amount_minor: int
    balance_minor: int = 0
    loss_minor: int = 0
    wanted_minor: int = 0
    currency: str
    reason: str
    evidence_due_at: AwareDatetime | None = None
    reminders: int = 0
    credits: list[dict[str, str]] = Field(default_factory=list)
    created_at: AwareDatetime
    booked_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None

    @property
    def own_minor(self) -> int:
        """The part of it that was money of the payment; the rest is our loss."""
        return self.amount_minor - self.loss_minor

    @property
    def short_minor(self) -> int:
        """The part for which a credit note still lacks room."""
        return max(0, self.wanted_minor - self.note_minor) if self.takes_room else 0

    @property
    def takes_room(self) -> bool:
        """True while the bank has the money: an inquiry took none, a won dispute returned it."""
        return self.state in ("open", "lost")

    @property
    def is_reserved(self) -> bool:
        """True until it is booked: meanwhile nothing else may return that money."""
        return self.takes_room and self.booked_at is None
