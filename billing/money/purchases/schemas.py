"""Rows and requests of purchases; amounts in ISO minor units."""

from decimal import Decimal
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.catalog.plans.schemas import OfferedPack
from billing.core.frozen import Frozen
from billing.matters.effects import Row
from billing.money.purchases.rules import Flow

PurchaseStatus = Literal["pending", "completed", "failed", "expired", "canceled", "refunded"]


class NewPurchase(Frozen):
    """The buyer's order."""

    pack: str
    flow: Flow
    currency: str | None = None
    method_id: UUID | None = None
    platform: str = "stripe"
    return_url: str | None = None
    top_up_id: UUID | None = None
    """The top-up that it fulfils; then no person is present to confirm."""
    use_balance: bool = True
    """The money balance pays first."""
    coupon: str | None = None
    expected_minor: int | None = None
    """The price that the buyer saw; any other is refused."""
    offered: OfferedPack | None = None
    """The pack and its price, if already read under the account's lock."""
    is_keyed: bool = True
    """False: a repeat of the order would be another one."""


class Purchase(Row):
    """A row of `purchases`."""

    TABLE: ClassVar[str] = "purchases"

    account_id: UUID
    pack: str
    pack_name: str
    credits: Decimal
    amount_minor: int
    currency: str
    platform: str
    flow: Flow
    payment_method_id: UUID | None = None
    status: str
    invoice_id: UUID
    return_url: str | None = None
    top_up_id: UUID | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    correlation_id: str | None = None
    created_by: str | None = None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    completed_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    archived_at: AwareDatetime | None = None
