"""Disputes as rows; amounts in ISO minor units."""

from typing import ClassVar, Final, Literal

from pydantic import AwareDatetime

from billing.money.invoices.schemas import ReversalClaim

FRAUD: Final = "fraudulent"
"""The reason of a dispute whose payer says that somebody else used the card."""
DisputeState = Literal["inquiry", "open", "won", "lost", "closed"]


class Dispute(ReversalClaim):
    """A row of `disputes`: money of one payment that its payer's bank demands back."""

    TABLE: ClassVar[str] = "disputes"

    stripe_dispute_id: str
    status: str
    state: DisputeState
    loss_minor: int = 0
    returned_minor: int = 0
    """The part that the bank returned though the dispute stays lost; `amount_minor` is the rest."""
    noted_back_minor: int = 0
    """The part of that whose credit note stands; `note_minor` is the rest of the notes."""
    evidence_due_at: AwareDatetime | None = None
    reminders: int = 0
    closed_at: AwareDatetime | None = None
    returned_at: AwareDatetime | None = None

    @property
    def asked_minor(self) -> int:
        """The amount that the bank demanded."""
        return self.amount_minor + self.returned_minor

    @property
    def noted_minor(self) -> int:
        """The part for which its credit note and its clawback stand, with what is back of it."""
        return self.note_minor + self.noted_back_minor

    @property
    def is_placed(self) -> bool:
        """False if it was heard before its payment was booked: its place is known only then."""
        return not self.wanted_minor or self.note_minor + self.balance_minor + self.loss_minor > 0

    @property
    def own_minor(self) -> int:
        """The part of it that was money of the payment; the rest is our loss."""
        return self.amount_minor - self.loss_minor if self.is_placed else 0

    @property
    def takes_room(self) -> bool:
        """True while the bank has the money: an inquiry took none, a won dispute returned it."""
        return self.state in ("open", "lost")
