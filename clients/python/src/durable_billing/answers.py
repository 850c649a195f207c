"""Answers of the API, typed: quantities and credits are decimals, instants are UTC.

Fields that a newer API adds are ignored.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Quote(_Answer):
    """The current cost of a use; no method is suggested if none could pay for it."""

    product_id: str
    usage_amount: Decimal
    unit_price: Decimal
    total_cost: Decimal
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool
    suggested_billing_method: str | None
    available_billing_methods: tuple[str, ...]


class Bill(_Answer):
    """A use as it was recorded and billed."""

    billing_id: str
    usage_record_id: str | None = None
    billing_status: str
    billing_method: str
    meter: str
    unit_price: Decimal
    total_cost: Decimal
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool


class BillingRecord(_Answer):
    """A billing record in its present state."""

    billing_id: str
    event_id: str | None
    product_id: str | None
    meter: str
    usage_amount: Decimal
    unit_price: Decimal
    total_amount: Decimal
    currency: str
    billing_method: str
    billing_status: str
    transaction_id: str | None
    occurred_at: datetime


class QuotaCheck(_Answer):
    """Verdict on a use against every limit; without any limit the figures are None.

    `passes_at` of a refused use is when the same request would pass if nothing more is used; None:
    at no known time. `refused_by` is `plan`, `quota` or `budget`, or what a newer API has beside
    them. `access` is `no_new_overage` if the plan refuses only because an invoice is overdue.
    """

    allowed: bool
    meter: str
    limit: Decimal | None
    used: Decimal
    remaining: Decimal | None
    requested: Decimal
    soft_limit_reached: bool
    resets_at: datetime | None
    passes_at: datetime | None = None
    reason: str | None
    refused_by: str | None = None
    budget_id: str | None = None
    access: str | None = None


class Expiring(_Answer):
    """Free credits that expire soon; the first of them at `first_at`."""

    credits: Decimal
    first_at: datetime


class Balance(_Answer):
    """Credits of the account: `available` is neither held nor spent."""

    credits: Decimal
    held: Decimal
    available: Decimal
    paid: Decimal
    debt: Decimal = Decimal(0)
    overdraft: Decimal = Decimal(0)
    expiring_soon: Expiring | None = None
    plan_monthly_credits: Decimal = Decimal(0)
    credits_used_this_month: Decimal
    currency: str | None
    as_of: datetime


class HoldState(_Answer):
    """A hold in its present state: `open`, `captured`, `released`, `expired`, or a newer API's."""

    hold_id: str
    status: str
    amount: Decimal
    captured: Decimal
    expires_at: datetime


class Capture(_Answer):
    """A captured hold; the rest of it was released."""

    hold_id: str
    transaction_id: str
    captured: Decimal
    released: Decimal
    balance: Decimal


Status = Literal["recorded", "duplicate", "rejected"]
"""The verdicts on a row that this client knows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one row of a batch; a rejected row has `code` and `detail`.

    `retry` is true for a rejected row that may be recorded when it is sent again later.
    """

    status: Status
    code: str | None = None
    detail: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that the API rejected, kept in the spool until it is forgotten or sent again."""

    number: int
    event_id: str
    event: dict[str, Any]
    code: str
    detail: str
