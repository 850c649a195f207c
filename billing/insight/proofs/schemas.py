"""A proof of fulfilment: everything that shows what was asked, paid and granted for one purchase.

Amounts are in ISO minor units of `currency`; instants are in the account's own time unless their
name says `real`.
"""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.core.frozen import Frozen


class RequestFact(Frozen):
    """The caller, the time and the idempotency key; a key is forgotten after 24 hours."""

    actor: str | None = Field(description="Who asked for it; null: not known")
    correlation_id: str | None
    asked_at: AwareDatetime = Field(description="When, in the account's time")
    real_asked_at: AwareDatetime | None = Field(
        description="The same in real time; null: not known"
    )
    idempotency_key_hash: str | None = Field(
        description="SHA-256 of the caller's key; null: there was none, or it is forgotten"
    )
    """SHA-256 of the caller's key; None when there was none, or it is forgotten."""
    route: str | None = Field(description="The route that was called; null: not known")


class StepFact(Frozen):
    """A step that the purchase's workflow has done."""

    name: str = Field(description="The step")
    key: str = Field(description="The key of the step, under which it is done once")
    due_at: AwareDatetime | None = Field(description="When it was due; null: it was asked for")
    ran_at: AwareDatetime = Field(description="When it ran, in the account's time")
    real_ran_at: AwareDatetime = Field(description="The same in real time")
    result: str = Field(description="The outcome in one word")


class MatterFact(Frozen):
    """The purchase in the register of matters."""

    workflow_id: str
    status: str = Field(
        description="The state of its workflow: `open`, `resting`, `halted` or `closed`"
    )
    started: bool = Field(description="True once its workflow was started")
    closed_at: AwareDatetime | None


class AttemptFact(Frozen):
    """One try of a card."""

    key: str = Field(description="The key of the try, under which it is made once")
    status: str = Field(
        description="The outcome: `pending`, `succeeded`, `declined`, `action`, `processing`,"
        " `unreached` or `skipped`",
    )
    decline_code: str | None
    started_at: AwareDatetime = Field(description="When the try began")
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

    event_id: str = Field(description="The event, by its id at the provider")
    type: str = Field(description="Its type at the provider")
    status: str = Field(description="`received`, `handled`, `ignored`, `unmatched` or `parked`")
    deliveries: int
    source: str = Field(
        description="How it came: as a `webhook`, by a `poll` of the provider, or from an"
        " `operator`",
    )
    real_received_at: AwareDatetime = Field(description="When it came first, in real time")
    real_handled_at: AwareDatetime | None = Field(
        description="When it was handled, in real time; null: not yet"
    )


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


class ProofFacts(Frozen):
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

    name: str = Field(description="The name of the check")
    sentence: str = Field(description="What must be so")
    ok: bool = Field(description="True if it is so")


class Verdict(Frozen):
    """Result of all checks together."""

    consistent: bool
    sentence: str
    checks: tuple[Check, ...]
