"""Billing addresses, as the rest of the product reads them."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from billing.matters.effects import Row


class Address(Row):
    """One billing address [K12]; `country` is a code of ISO 3166-1 with two letters."""

    TABLE: ClassVar[str] = "billing_addresses"

    account_id: UUID
    user_id: str | None = None
    line1: str
    line2: str | None = None
    city: str
    state: str | None = None
    postal_code: str | None = None
    country: str
    is_default: bool = False
    created_at: AwareDatetime
    updated_at: AwareDatetime
