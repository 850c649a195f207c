"""Payments and attempts as the rest of the product reads them; ISO minor units."""

from datetime import date, datetime
from typing import Any, ClassVar, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.core import ids
from billing.matters.effects import Row

PaymentStatus = Literal[
    "pending",
    "pending_approval",
    "processing",
    "succeeded",
    "completed",
    "failed",
    "refunded",
    "canceled",
]
AttemptStatus = Literal[
    "pending", "succeeded", "declined", "action", "processing", "unreached", "skipped"
]
UNTRIED: Final = ("unreached", "skipped")
"""Statuses of an attempt that reached no card."""
AGAIN_AT: Final = "again_at"
"""In the detail of a try that reached no card: when an operator has ordered the next one."""
UNCONFIRMED: Final = "unconfirmed"
"""In the detail of a try whose payer failed 3-D Secure: the provider's id of the card."""
DECLINED: Final = ("declined", "action")
"""Statuses of an attempt that count as a decline of its card."""


PAYPAL: Final = "paypal"
"""The PayPal flow; the order takes the page's place and the capture the intent's."""
MONEY_IN: Final = ("succeeded", "completed")
"""Payments whose money has arrived."""
LIVE: Final = ("pending", "pending_approval", "processing")
"""Payments that may still bring money."""
DECIDABLE: Final = ("pending_approval", "canceled")
"""Statuses of a manual payment that may be approved: money may come after cancellation, too."""


class Payment(Row):
    """One flow for one invoice: a PaymentIntent, a hosted page or a manual submission."""

    TABLE: ClassVar[str] = "payments"

    account_id: UUID
    invoice_id: UUID
    workflow_id: str
    flow: str
    intent_key: str
    status: PaymentStatus
    amount_minor: int
    received_minor: int = 0
    refunded_minor: int = 0
    currency: str
    payment_method_id: UUID | None = None
    paid_with: dict[str, Any] | None = None
    """The method that paid, as it was then; None in payments of 0.1.0."""
    stripe_payment_intent_id: str | None = None
    stripe_checkout_session_id: str | None = None
    stripe_charge_id: str | None = None
    client_secret: str | None = None
    redirect_url: str | None = None
    return_url: str | None = None
    is_unattended: bool = False
    """Started by the product itself: no payer is present to authenticate."""
    by_link: bool = False
    """Its form was opened by the signed link: its payer may be somebody else than the customer."""
    superseded_at: AwareDatetime | None = None
    capture_asked_at: AwareDatetime | None = None
    """Noted before its order's capture is sent, in real time by the database; None once the result
    is known.
    """
    rest_refund: dict[str, Any] | None = None
    """Its subscription, as events name it, if that ended with a refund while this was under way."""
    failure_code: str | None = None
    failure_message: str | None = None
    failure_class: str | None = None
    offered_at: AwareDatetime | None = None
    manual_method: str | None = None
    transaction_reference: str | None = None
    received_on: date | None = None
    submitted_by: str | None = None
    decided_by: str | None = None
    decided_at: AwareDatetime | None = None
    decision_reason: str | None = None
    checks: int = 0
    last_check_at: AwareDatetime | None = None
    created_at: AwareDatetime
    paid_at: AwareDatetime | None = None
    settled_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None

    @property
    def opened(self) -> bool:
        """True if the payment exists at the provider."""
        return bool(self.stripe_payment_intent_id or self.stripe_checkout_session_id)

    @property
    def is_unbooked(self) -> bool:
        """True if its money has arrived and is not booked yet."""
        return self.status in MONEY_IN and self.settled_at is None

    @property
    def waits_for_its_turn(self) -> bool:
        """A manual payment that collects nothing until the card's flow has ended."""
        return self.flow == "manual" and self.status == "pending"


def public_id(payment: Payment | None) -> str | None:
    """Return the payment's id as callers see it."""
    return ids.encode(ids.PAYMENT, payment.id) if payment is not None else None


class Attempt(Row):
    """One confirm of a payment's intent with one card."""

    TABLE: ClassVar[str] = "payment_attempts"

    account_id: UUID
    payment_id: UUID | None = None
    invoice_id: UUID
    key: str
    slot: int | None = None
    payment_method_id: UUID | None = None
    status: AttemptStatus
    decline_code: str | None = None
    decline_class: str | None = None
    message: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)
    started_at: AwareDatetime
    real_started_at: AwareDatetime
    finished_at: AwareDatetime | None = None

    @property
    def is_decided(self) -> bool:
        """True if it is known how the try ended."""
        return self.status != "pending"

    @property
    def again_at(self) -> datetime | None:
        """Instant at which an operator has ordered the next try, which then waits for no hour."""
        ordered = self.detail.get(AGAIN_AT)
        return datetime.fromisoformat(ordered) if ordered else None


class AttemptCard(NamedTuple):
    """The card of an attempt."""

    status: str
    """Status of the attempt."""
    method_id: UUID | None
    card: str | None
    """Provider id; None if the card was removed, or barred by its bank."""
    provider_kind: str | None
    """`card`, or another type of the provider, such as `sepa_debit`."""
    is_barred: bool = False
