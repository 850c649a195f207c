"""Accounts and issuers, and the fields of an account that an operator may set."""

from typing import Final, Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen

ClockStatus = Literal["ready", "advancing", "blocked"]
Preference = Literal["wallet_deduction", "credit_consumption", "payment_charge"]
"""An account's preferred payment method beyond its plan."""
ANY_ACCOUNT: Final = "*"
"""The account of the operators' roles."""


class Account(Frozen):
    """A billed customer. `clock_at` is the frozen instant of a test account, else None."""

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
    gone_customer_id: str | None = None
    issuer_id: UUID | None
    preferred_billing_method: Preference | None
    verified_as: tuple[str, ...] = ()
    status: str
    created_at: AwareDatetime


class Issuer(Frozen):
    """A legal entity that sells; `logo` is the name of a stored picture."""

    id: UUID
    key: str
    name: str
    address: dict[str, str]
    tax_ids: tuple[str, ...]
    email: str | None
    footer: str | None
    logo: str | None
    is_default: bool


class AccountFields(Frozen):
    """Fields of an upsert; a field that was not set keeps the account's value."""

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
    verified_as: tuple[str, ...] = ()
