"""What is for sale, as the rest of the product sees it: plans, prices, packs, entitlements.

Money is integer minor units beside a currency; credits and unit prices are exact decimals, in
JSON as strings.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from billing.core.money import show_decimal
from billing.core.periods import MONTH, Interval

PLAN_ID: Final = "pln"
PRICE_ID: Final = "prc"
PACK_ID: Final = "pck"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_float(value: Any) -> Any:
    if isinstance(value, (float, bool)):
        raise ValueError('must be a whole number or a decimal in a string, such as "0.002"')
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    Field(ge=0, lt=10**15, max_digits=27, decimal_places=12, allow_inf_nan=False),
    PlainSerializer(show_decimal, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,15}(\.\d{1,12})?$", "example": "2.00"}),
]
"""Credits, an included quantity or a unit price."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, upper case."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""The key of a plan, pack, meter, feature or operation."""
Then = Literal["block", "overage", "notify"]
"""What happens beyond the included units of a limit."""


class Limit(_Frozen):
    """How much of a meter a plan includes per allowance cycle, and what happens then."""

    meter: Name
    included: Amount
    then: Then = "block"
    prices: dict[Currency, Amount] = {}
    """Overage per unit, in whole currency units such as {"USD": "0.002"}."""

    @model_validator(mode="after")
    def _overage_has_prices(self) -> Self:
        if (self.then == "overage") != bool(self.prices):
            raise ValueError("`prices` belong to `then: overage`, and only to it")
        return self


class AddOn(_Frozen):
    """Extra units of a meter that a plan's subscribers may buy on top of it, per cycle [B8]."""

    key: Name
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    meter: Name
    units: Annotated[Amount, Field(gt=0)]
    prices: Annotated[
        dict[Currency, Annotated[int, Field(strict=True, gt=0, lt=10**15)]], Field(min_length=1)
    ]
    """Of one per cycle, in minor units such as {"USD": 500}."""


class DunningPolicy(_Frozen):
    """When an unpaid invoice is tried again, and what happens after the last try."""

    days: tuple[Annotated[int, Field(ge=0, le=90)], ...] = Field((0, 3, 7), min_length=1)
    """Days after the renewal; the first is the renewal itself."""
    hour: Annotated[int, Field(ge=0, le=23)] | None = None
    """Hour of day in the customer's zone; None is the renewal's own time of day."""
    final_action: Literal["unpaid", "cancel", "uncollectible"] = "unpaid"
    grace_days: Annotated[int, Field(ge=1, le=30)] = 1
    """Between the last try and the final action."""

    @model_validator(mode="after")
    def _days_ascend_from_zero(self) -> Self:
        if self.days[0] != 0 or list(self.days) != sorted(set(self.days)):
            raise ValueError("`days` start at 0 and ascend")
        return self


class Rollover(_Frozen):
    """What happens to a cycle's unspent credits: they end, or up to `credits` of them stay."""

    policy: Literal["none", "cap"] = "none"
    credits: Amount = Decimal(0)


class Plan(_Frozen):
    """One version of a plan; a subscription keeps the version it was sold with."""

    id: UUID
    key: str
    version: int
    family: str
    name: str
    description: str
    features: dict[str, bool | int | str]
    limits: tuple[Limit, ...]
    add_ons: tuple[AddOn, ...] = ()
    trial_days: int
    monthly_credits: Amount
    """Credits per allowance cycle [B12]."""
    allowance: Interval = MONTH
    billing_threshold: dict[Currency, int] = {}
    """Use beyond the plan is invoiced as soon as it comes to so many minor units."""
    past_due_access: Literal["full", "no_new_overage", "none"]
    trial_end_behavior: Literal["cancel", "pause", "invoice"]
    dunning: DunningPolicy
    rollover: Rollover
    stripe_product_id: str | None
    position: int
    is_active: bool
    """Open to new subscribers [B3]."""
    is_current: bool
    created_at: AwareDatetime


class Price(_Frozen):
    """One version of what a plan costs per interval, or a pack once, in one currency."""

    id: UUID
    kind: Literal["plan", "pack"]
    key: str
    currency: str
    interval: Interval | None
    amount_minor: int
    version: int
    stripe_price_id: str | None
    is_current: bool
    created_at: AwareDatetime


class Pack(_Frozen):
    """Credits sold together."""

    id: UUID
    key: str
    name: str
    description: str
    credits: Amount
    position: int
    is_active: bool
    created_at: AwareDatetime


class CreditCost(_Frozen):
    """What one operation costs in credits; `built_in` when no active row says so [F5]."""

    operation: str
    cost: Amount
    is_active: bool
    built_in: bool


Access = Literal["full", "no_new_overage", "none"]


class Entitlements(_Frozen):
    """What an account may use now: its plan's features and limits, and how far it gets them."""

    plan: str | None
    plan_name: str | None
    subscription_status: str | None
    access: Access
    features: dict[str, bool | int | str]
    limits: tuple[Limit, ...]
