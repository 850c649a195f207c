"""The use that a card pays, as its decisions see it."""

from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from billing.matters.effects import Row
from billing.metering.usage.schemas import Status


class ChargedUse(Row):
    """The part of a billing record that its charge needs; only usage's verb writes the status."""

    TABLE: ClassVar[str] = "billing_records"

    account_id: UUID
    billing_method: str
    billing_status: Status
    total_amount: Decimal
    currency: str
