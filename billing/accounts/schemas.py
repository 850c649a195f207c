"""An account as the rest of the product sees it, and what an operator may say about one."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.rating.schemas import Preference

ClockStatus = Literal["ready", "advancing", "blocked"]


class Account(BaseModel):
    """A billed customer. `clock_at` is the frozen instant of a test account, else None."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    external_id: str
    kind: str
    name: str | None
    email: str | None
    zone: str
    country: str | None
    locale: str
    platform: str | None
    platform_domain: str | None
    is_test: bool
    clock_at: AwareDatetime | None
    clock_target: AwareDatetime | None
    clock_status: ClockStatus | None
    clock_blocked: str | None
    stripe_customer_id: str | None
    issuer_id: UUID | None
    preferred_billing_method: Preference | None
    status: str
    created_at: AwareDatetime


class AccountFields(BaseModel):
    """What an upsert says; a field that was not set keeps what the account has."""

    model_config = ConfigDict(frozen=True)

    external_id: str
    kind: str = "merchant"
    name: str | None = None
    email: str | None = None
    zone: str = "UTC"
    country: str | None = None
    locale: str = "en"
    platform: str | None = None
    platform_domain: str | None = None
    is_test: bool = False
    clock_at: AwareDatetime | None = None
    issuer: str | None = None
    preferred_billing_method: Preference | None = None
