"""Quotas as operators set them, claims, and decisions on a use."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import AwareDatetime

from billing.catalog.rating.schemas import BY_CREDITS, BY_PAID_CREDITS, BY_PLAN
from billing.core.frozen import Frozen
from billing.core.money import ZERO
from billing.metering.budgets.rules import ALERT_PERCENTS

Source = Literal["plan", "quota", "budget"]
Window = Literal["day", "month", "cycle", "rolling"]
SOFT_PERCENT: Final = min(ALERT_PERCENTS)
"""The percent of a limit at which its soft limit is reached, unless a quota says others."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A use to check, as the caller names it."""

    amount: Decimal
    user_id: str | None = None
    organization_id: str | None = None
    product_id: str | None = None
    service_type: str | None = None
    feature_type: str | None = None
    operation: str | None = None
    billing_method: str | None = None

    @property
    def is_by_plan(self) -> bool:
        """True if the plan would pay for it, as far as it limits the meter (usage_allotted)."""
        return self.billing_method in (None, BY_PLAN)

    @property
    def is_by_credits(self) -> bool:
        """True if credits are to pay it, whatever the plan would."""
        return self.billing_method in (BY_CREDITS, BY_PAID_CREDITS)


class Quota(Frozen):
    """A limit on a meter for an owner and window, with the window's use."""

    id: UUID
    account_id: UUID
    owner: str
    meter: str
    window_kind: Window
    span_seconds: int | None
    limit_amount: Decimal
    is_hard: bool
    is_derived: bool
    alert_percents: tuple[int, ...]
    window_start: AwareDatetime
    used: Decimal
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def remaining(self) -> Decimal:
        """The unused rest of the window, never negative."""
        return max(ZERO, self.limit_amount - self.used)


class NewQuota(Frozen):
    """A quota to set; without a window it is the month, or for a level the cycle."""

    owner: str
    service_type: str | None
    feature_type: str | None
    window: Window | None
    span_seconds: int | None
    limit: Decimal
    hard: bool
    alert_percents: tuple[int, ...]


class Release(NamedTuple):
    """An amount that becomes available in a window at an instant."""

    at: datetime
    amount: Decimal


class Moment(NamedTuple):
    """An instant `at` in a period from `period_start` on, with what is known `now`."""

    zone: str
    period_start: datetime
    at: datetime
    now: datetime


class QuotaClaim(Frozen):
    """A use counted before its event is recorded; `record_id` is the future record's id."""

    record_id: UUID
    event_id: str
    user_id: str | None
    organization_id: str | None
    meter: str
    amount: Decimal
    at: AwareDatetime


class KnownUse(NamedTuple):
    """The use that an event was claimed or, with its whole `amount`, recorded for."""

    is_recorded: bool
    meter: str
    user_id: str | None
    organization_id: str | None
    amount: Decimal
    at: datetime


class Bound(Frozen):
    """One limit that applies to a use: a quota, the plan's allowance, or a blocking budget."""

    source: Source
    limit: Decimal
    used: Decimal
    is_hard: bool
    resets_at: AwareDatetime | None
    budget_id: UUID | None = None
    quota_id: UUID | None = None
    soft_percent: int = SOFT_PERCENT
    is_withheld: bool = False
    """True if a plan sells more, but not while an invoice is overdue."""

    @property
    def remaining(self) -> Decimal:
        """The unused rest, never negative."""
        return max(ZERO, self.limit - self.used)


class Decision(Frozen):
    """The decision on a use against every limit; its figures are the tightest limit's [H1]."""

    allowed: bool
    meter: str
    limit: Decimal | None
    used: Decimal
    remaining: Decimal | None
    requested: Decimal
    soft_limit_reached: bool
    resets_at: AwareDatetime | None
    reason: str | None
    passes_at: AwareDatetime | None = None
    """The instant at which the same use would pass, if nothing more is used; None: never."""
    refused_by: Source | None = None
    budget_id: UUID | None = None
    """The budget that refuses; the figures are then this budget's, in its measure."""
    access: Literal["no_new_overage"] | None = None
    """Set if the plan refuses only because an invoice is overdue."""

    @classmethod
    def unlimited(cls, meter: str, requested: Decimal, used: Decimal) -> Self:
        """Return the decision for a meter without limits."""
        return cls(
            allowed=True, meter=meter, limit=None, used=used, remaining=None, requested=requested,
            soft_limit_reached=False, resets_at=None, reason=None,
        )  # fmt: skip
