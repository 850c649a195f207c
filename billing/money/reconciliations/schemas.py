"""Both sides of a comparison with the provider, and its findings. ISO minor units."""

from collections.abc import Mapping
from typing import Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.core import ids
from billing.core.frozen import Frozen

ObjectKind = Literal["payment", "refund", "dispute"]
OBJECTS: Final[tuple[ObjectKind, ...]] = ("payment", "refund", "dispute")
"""The objects that move money, in the order in which a run compares them."""
DiscrepancyKind = Literal[
    "missing_here",  # the provider moved money of one of our accounts, and no row knows it
    "missing_at_stripe",  # a row names an object that the provider does not have
    "amount_differs",
    "currency_differs",
    "state_differs",  # such as paid there, and unpaid here
]
PaymentState = Literal["unpaid", "paid"]
RefundState = Literal["under_way", "succeeded", "failed"]
DisputeState = Literal["open", "won", "lost", "closed"]
MoneyState = PaymentState | RefundState | DisputeState
RunStatus = Literal["running", "finished", "failed"]


class Side(Frozen):
    """One side's values of an object."""

    amount_minor: int
    currency: str
    state: MoneyState
    has_returned: bool = False
    """A part of a lost dispute that came back is booked here: a further one never is."""


class AtStripe(Frozen):
    """A payment intent, refund or dispute of the provider."""

    object_id: str
    intent_id: str | None
    """The intent that it belongs to, or is."""
    account: str | None
    """The account in the metadata of that intent; None: this product did not make the intent."""
    payment: str | None = None
    """The payment in that metadata."""
    customer: str | None = None
    """The provider's customer who paid that intent."""
    side: Side
    created_at: AwareDatetime
    changed_at: AwareDatetime
    """The latest change that the provider tells of."""
    is_returned: bool = False
    """All money of its charge went back to the payer by refunds."""


class MoneyPage(Frozen):
    """Some of the provider's objects of one kind, newest first."""

    objects: tuple[AtStripe, ...]
    has_more: bool


class Here(Frozen):
    """A row with the provider's id of its object."""

    row_id: UUID
    object_id: str
    payment_id: UUID
    account_id: UUID
    side: Side
    created_at: AwareDatetime
    is_test: bool
    """Its account is a test account."""
    is_awake: bool
    """A step of its payment is due about now, and asks the provider."""


class Owner(Frozen):
    """The account behind an object that no row knows."""

    account_id: UUID
    is_test: bool
    payment_id: UUID | None = None
    """The payment of its intent, or whose page was paid by it, if that has a row."""
    is_kept: bool = False
    """A restore has put the intent's money on the money balance."""
    is_recorded: bool = False
    """An operator has recorded the intent's money, with the intent as its reference."""


class Discrepancy(Frozen):
    """One difference between a row and the provider's object."""

    kind: DiscrepancyKind
    object: ObjectKind
    stripe_id: str
    account_id: UUID
    payment_id: UUID | None = None
    here: Side | None = None
    at_stripe: Side | None = None
    created_at: AwareDatetime
    is_check_ordered: bool = False
    """The run has ordered a status check of the payment, which records what the provider says."""


class Checked(Frozen):
    """The counts of a run. Test accounts are left out."""

    payments: int = Field(0, description="Payments that were compared")
    refunds: int = Field(0, description="Refunds that were compared")
    disputes: int = Field(0, description="Disputes that were compared")
    under_way: int = Field(0, description="Objects that differ and are still being settled")
    """Objects that differ and are still being settled."""
    foreign: int = Field(0, description="Objects at the provider that belong to nobody here")
    """Objects of the provider of nobody here: neither metadata nor customer is of an account."""

    def plus(self, counts: Mapping[str, int]) -> "Checked":
        """Return the sums with these counts added."""
        return Checked(**{name: sum_ + counts.get(name, 0) for name, sum_ in self})


class Place(Frozen):
    """The position of a run: it continues with the objects of a kind behind `after`."""

    object: ObjectKind = OBJECTS[0]
    after: str | None = None
    until: AwareDatetime | None = None
    """Rows that were created from then on are compared already; None: none of this kind."""


class Reconciliation(Frozen):
    """A run: its window, its position, and what it found so far."""

    id: UUID
    started_at: AwareDatetime
    since_at: AwareDatetime
    until_at: AwareDatetime
    is_whole: bool
    """Nobody chose its window: the alert looks at the latest of these runs."""
    heal: bool
    place: Place | None = Place()
    """None: it has compared everything."""
    checked: Checked = Checked()
    discrepancies: tuple[Discrepancy, ...] = ()
    is_alarming: bool = False
    error: str | None = None
    finished_at: AwareDatetime | None = None

    @property
    def name(self) -> str:
        """Return the public id."""
        return ids.encode(ids.RECONCILIATION, self.id)

    @property
    def status(self) -> RunStatus:
        """A run with an error that is not finished waits for the provider."""
        if self.finished_at is None:
            return "running"
        return "failed" if self.error else "finished"
