"""A proof of fulfilment: everything that shows what was asked, paid and granted for one purchase.

Amounts are in ISO minor units of `currency`; instants are in the account's own time unless their
name says `real`.
"""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class RequestFact(Frozen):
    """The caller, the time and the idempotency key; a key is forgotten after 24 hours."""

    actor: str | None
    correlation_id: str | None
    asked_at: AwareDatetime
    real_asked_at: AwareDatetime | None
    idempotency_key_hash: str | None
    """SHA-256 of the caller's key; None when there was none, or it is forgotten."""
    route: str | None


class StepFact(Frozen):
    """A step that the purchase's workflow has done."""

    name: str
    key: str
    due_at: AwareDatetime | None
    ran_at: AwareDatetime
    real_ran_at: AwareDatetime
    result: str


class MatterFact(Frozen):
    """The purchase in the register of matters."""

    workflow_id: str
    status: str
    started: bool
    closed_at: AwareDatetime | None


class AttemptFact(Frozen):
    """One try of a card."""

    key: str
    status: str
    decline_code: str | None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None


class PaymentFact(Frozen):
    """One payment of the purchase, by its flow."""

    payment_id: UUID
    flow: str
    status: str
    provider_intent: str | None
    provider_session: str | None
    provider_charge: str | None
    amount_minor: int
    received_minor: int
    currency: str
    created_at: AwareDatetime
    paid_at: AwareDatetime | None
    booked_at: AwareDatetime | None
    attempts: tuple[AttemptFact, ...] = ()

    @property
    def is_open(self) -> bool:
        """Return True while the provider may still collect the money."""
        known = self.provider_intent or self.provider_session
        return self.status in ("pending", "processing") and known is not None


class WebhookFact(Frozen):
    """Something the provider told, and how often."""

    event_id: str
    type: str
    status: str
    deliveries: int
    source: str
    real_received_at: AwareDatetime
    real_handled_at: AwareDatetime | None


class InvoiceFact(Frozen):
    """An invoice of the purchase; a second exists only if money came after the first was voided."""

    invoice_id: UUID
    number: str | None
    status: str
    total_minor: int
    amount_due_minor: int
    amount_paid_minor: int
    currency: str
    paid_at: AwareDatetime | None


class GrantFact(Frozen):
    """Credits granted for the purchase, with their entry in the ledger."""

    lot_id: UUID
    transaction_id: UUID | None
    key: str
    credits: Decimal
    booked: Decimal | None
    """Amount of the ledger entry."""
    granted_at: AwareDatetime
    real_granted_at: AwareDatetime | None


class Facts(Frozen):
    """All facts of a proof."""

    purchase_id: UUID
    status: str
    pack: str
    credits: Decimal
    amount_minor: int
    currency: str
    completed_at: AwareDatetime | None
    grant_key: str
    invoice_id: UUID
    request: RequestFact
    matter: MatterFact | None
    steps: tuple[StepFact, ...]
    payments: tuple[PaymentFact, ...]
    webhooks: tuple[WebhookFact, ...]
    invoices: tuple[InvoiceFact, ...]
    grants: tuple[GrantFact, ...]
    kept_minor: int
    """Money beyond the price, kept in the money balance."""
    asked_at: AwareDatetime | None
    """Real time of the provider's last answer about the payments."""
    published: int
    """Number of events `evt.billing.credits.purchased` about it."""


class Check(Frozen):
    """One thing that must be so, and whether it is."""

    name: str
    sentence: str
    ok: bool


class Verdict(Frozen):
    """Result of all checks together."""

    consistent: bool
    sentence: str
    checks: tuple[Check, ...]
