"""Stored methods and cards being saved, as the rest of the product reads them."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from billing.matters.effects import Row


class Method(Row):
    """A stored card's metadata [K4]."""

    TABLE: ClassVar[str] = "payment_methods"

    account_id: UUID
    kind: str = "card"
    provider_kind: str = "card"
    provider: str = "stripe"
    stripe_payment_method_id: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str | None = None
    one_card: str | None = None
    country: str | None = None
    label: str | None = None
    is_default: bool = False
    is_backup: bool = False
    status: str = "active"
    barred_at: AwareDatetime | None = None
    told_expiry: str | None = None
    chosen_at: AwareDatetime
    created_at: AwareDatetime
    removed_at: AwareDatetime | None = None


class Setup(Row):
    """One card being saved [K5]; the secret is for the customer's browser."""

    TABLE: ClassVar[str] = "setup_intents"

    account_id: UUID
    stripe_setup_intent_id: str | None = None
    client_secret: str | None = None
    status: str
    make_default: bool
    payment_method_id: UUID | None = None
    checks: int = 0
    asked_at: AwareDatetime | None = None
    asks: int = 0
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class PortalSession(Row):
    """A visit of the provider's portal [K10]; the address is for the customer's browser."""

    TABLE: ClassVar[str] = "portal_sessions"

    account_id: UUID
    return_url: str
    status: str = "pending"
    url: str | None = None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
