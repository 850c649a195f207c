"""Purchases as rows read and as requests made; amounts in ISO minor units."""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.purchases.rules import Road


class NewPurchase(BaseModel):
    """What the buyer wants."""

    model_config = ConfigDict(frozen=True)

    pack: str
    road: Road
    currency: str | None = None
    method_id: UUID | None = None
    platform: str = "stripe"
    return_url: str | None = None
    top_up_id: UUID | None = None
    """The wish for credits it fulfils, when no person is there to confirm."""


class Purchase(BaseModel):
    """A row of `purchases`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    account_id: UUID
    pack: str
    pack_name: str
    credits: Decimal
    amount_minor: int
    currency: str
    platform: str
    road: Road
    payment_method_id: UUID | None
    status: str
    invoice_id: UUID
    return_url: str | None
    top_up_id: UUID | None
    failure_code: str | None
    failure_message: str | None
    correlation_id: str | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    completed_at: AwareDatetime | None
    archived_at: AwareDatetime | None
