"""What the API answers, typed: quantities and credits are decimals, instants are UTC.

Fields that a newer API adds are let through unread.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Quote(_Answer):
    """What a use would cost now."""

    product_id: str
    usage_amount: Decimal
    unit_price: Decimal
    total_cost: Decimal
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool
    suggested_billing_method: str
    available_billing_methods: tuple[str, ...]


class Bill(_Answer):
    """A use as it was recorded and billed."""

    billing_id: str
    billing_status: str
    billing_method: str
    meter: str
    unit_price: Decimal
    total_cost: Decimal
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool


class BillingRecord(_Answer):
    """A billing record as it stands."""

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
    """Whether a use is within every limit; without any limit the figures are None."""

    allowed: bool
    meter: str
    limit: Decimal | None
    used: Decimal
    remaining: Decimal | None
    requested: Decimal
    soft_limit_reached: bool
    resets_at: datetime | None
    reason: str | None
    refused_by: Literal["plan", "quota", "budget"] | None = None
    budget_id: str | None = None


class Balance(_Answer):
    """Credits of the account: `available` is what is neither held nor spent."""

    credits: Decimal
    held: Decimal
    available: Decimal
    paid: Decimal
    credits_used_this_month: Decimal
    currency: str | None
    as_of: datetime


class HoldState(_Answer):
    """Credits set aside: open, captured, released or lapsed."""

    hold_id: str
    status: Literal["open", "captured", "released", "lapsed"]
    amount: Decimal
    captured: Decimal
    expires_at: datetime


class Capture(_Answer):
    """A hold that was spent; the rest is free again."""

    hold_id: str
    transaction_id: str
    captured: Decimal
    released: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one row of a batch; `code` and `detail` where it was rejected.

    `retry` says of a rejected row that it may be recorded when it is sent again later.
    """

    status: Literal["recorded", "duplicate", "rejected"]
    code: str | None = None
    detail: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that the API will not record, kept in the spool until forgotten or sent anew."""

    number: int
    event_id: str
    event: dict[str, Any]
    code: str
    detail: str
