"""Invoices as the rest of the product reads them; amounts in minor units of `currency`."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

InvoiceStatus = Literal["draft", "open", "paid", "void", "uncollectible"]


class Line(BaseModel):
    """One line: quantity times unit amount, rounded once."""

    model_config = ConfigDict(frozen=True)

    kind: str
    description: str
    quantity: Decimal = Decimal(1)
    unit_amount: Decimal
    """In minor units; may have a fraction for usage."""
    amount_minor: int
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    detail: dict[str, Any] = {}


class NewInvoice(BaseModel):
    """A draft to write: what is billed, for whom, and the business fact that makes it once."""

    model_config = ConfigDict(frozen=True)

    account_id: UUID
    issuer_id: UUID | None
    workflow_id: str
    fact_key: str
    currency: str
    lines: tuple[Line, ...]
    subscription_id: UUID | None = None
    purchase_id: UUID | None = None
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    cycle_start: AwareDatetime | None = None
    cycle_end: AwareDatetime | None = None
    collection: Literal["automatic", "held"] = "automatic"
    payment_reference: str | None = None


class Invoice(BaseModel):
    """A row of `invoices`; status, settlement and amounts paid are not content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    account_id: UUID
    issuer_id: UUID | None
    workflow_id: str
    subscription_id: UUID | None
    purchase_id: UUID | None
    fact_key: str
    status: InvoiceStatus
    number: str | None
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    balance_applied_minor: int
    amount_due_minor: int
    amount_paid_minor: int
    amount_credited_minor: int
    settlement: str | None
    collection: str
    period_start: AwareDatetime | None
    period_end: AwareDatetime | None
    cycle_start: AwareDatetime | None
    cycle_end: AwareDatetime | None
    pay_requests: int
    pay_requested_at: AwareDatetime | None
    pay_method_id: UUID | None
    payment_reference: str | None
    stripe_invoice_id: str | None
    issued_on: date | None
    due_at: AwareDatetime | None
    finalized_at: AwareDatetime | None
    paid_at: AwareDatetime | None
    voided_at: AwareDatetime | None
    created_at: AwareDatetime

    @property
    def remaining_minor(self) -> int:
        """What is still to be collected."""
        return max(0, self.amount_due_minor - self.amount_paid_minor - self.amount_credited_minor)

    @property
    def outstanding_minor(self) -> int:
        """What its payer still owes: nothing once it is settled or void."""
        return 0 if self.status in ("paid", "void") else self.remaining_minor
