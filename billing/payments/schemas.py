"""Payments, attempts and methods as the rest of the product reads them; ISO minor units."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

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


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Payment(_Row):
    """One road for one invoice: a PaymentIntent, a hosted page or a manual submission."""

    id: UUID
    account_id: UUID
    invoice_id: UUID
    workflow_id: str
    road: str
    intent_key: str
    status: PaymentStatus
    amount_minor: int
    received_minor: int
    currency: str
    payment_method_id: UUID | None
    stripe_payment_intent_id: str | None
    stripe_checkout_session_id: str | None
    stripe_charge_id: str | None
    client_secret: str | None
    redirect_url: str | None
    failure_code: str | None
    failure_message: str | None
    failure_class: str | None
    offered_at: AwareDatetime | None
    manual_method: str | None
    transaction_reference: str | None
    submitted_by: str | None
    decided_by: str | None
    decided_at: AwareDatetime | None
    decision_reason: str | None
    checks: int
    created_at: AwareDatetime
    paid_at: AwareDatetime | None
    settled_at: AwareDatetime | None
    closed_at: AwareDatetime | None

    @property
    def opened(self) -> bool:
        """Whether the provider knows it."""
        return bool(self.stripe_payment_intent_id or self.stripe_checkout_session_id)

    @property
    def waits_for_its_turn(self) -> bool:
        """A manual payment that collects nothing until the card's road has ended."""
        return self.road == "manual" and self.status == "pending"


class Attempt(_Row):
    """One confirm of a payment's intent with one card."""

    id: UUID
    account_id: UUID
    payment_id: UUID | None
    invoice_id: UUID
    key: str
    slot: int | None
    payment_method_id: UUID | None
    status: AttemptStatus
    decline_code: str | None
    decline_class: str | None
    message: str | None
    started_at: AwareDatetime
    real_started_at: AwareDatetime
    finished_at: AwareDatetime | None


class Method(_Row):
    """A stored card's metadata [K4]."""

    id: UUID
    account_id: UUID
    kind: str
    provider: str
    stripe_payment_method_id: str
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None
    fingerprint: str | None
    country: str | None
    label: str | None
    is_default: bool
    status: str
    barred_at: AwareDatetime | None
    chosen_at: AwareDatetime
    created_at: AwareDatetime


class Setup(_Row):
    """One card being saved [K5]; the secret is for the customer's browser."""

    id: UUID
    account_id: UUID
    stripe_setup_intent_id: str | None
    client_secret: str | None
    status: str
    make_default: bool
    payment_method_id: UUID | None
    checks: int
    asked_at: AwareDatetime | None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None
