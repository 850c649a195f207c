"""Coupons: the stored row, and the fields that an operator sets."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)

from billing.catalog.plans.schemas import PositiveMinor
from billing.catalog.plans.spec import PricedIn
from billing.catalog.products.schemas import Name
from billing.core.frozen import Frozen

Duration = Literal["once", "repeating", "forever"]
LineKind = Literal["plan", "add_on", "usage", "pack"]
Percent = Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)]
Times = Annotated[int, Field(strict=True, gt=0, le=10**9)]


def capital(code: object) -> object:
    """Return a code as it is stored: stripped, in capital letters."""
    return code.strip().upper() if isinstance(code, str) else code


Code = Annotated[
    str,
    BeforeValidator(capital),
    StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_.-]{0,63}$"),
    Field(examples=["WELCOME20"]),
]
"""Case-insensitive; stored in capital letters."""


CouponName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class CouponSpec(BaseModel):
    """A discount, in percent or as an amount by currency: once, for `periods` periods, or forever.

    It may be limited to `kinds` of lines, to plans or packs (`sold`), to a time window, to a number
    of redemptions in total and per account, to a `first_purchase`, or to accounts `verified_as`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code
    name: CouponName
    percent: Percent | None = None
    amounts: dict[PricedIn, PositiveMinor] = {}
    duration: Duration = "once"
    periods: Annotated[int, Field(strict=True, gt=0, le=1200)] | None = Field(
        None, description="The number of periods that it reduces; with `duration: repeating` only"
    )
    kinds: Annotated[tuple[LineKind, ...], Field(max_length=4)] = ()
    sold: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    first_purchase: StrictBool = False
    verified_as: Name | None = Field(
        None,
        description="Only for accounts that are verified as this, such as `student`; null: for all",
    )
    max_redemptions: Times | None = None
    max_per_account: Times = 1
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.percent is None) != bool(self.amounts):
            raise ValueError("a coupon needs either a percent or amounts by currency")
        if (self.duration == "repeating") != (self.periods is not None):
            raise ValueError(
                "`periods` is required with `duration: repeating` and not allowed otherwise"
            )
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise ValueError("valid_until must be later than valid_from")
        return self


class Coupon(Frozen):
    """A row of `coupons`; `amounts` in minor units by currency."""

    id: UUID
    code: str
    name: str
    percent: Decimal | None
    amounts: dict[str, int]
    duration: Duration
    periods: int | None
    kinds: tuple[str, ...]
    sold: tuple[str, ...]
    first_purchase: bool
    verified_as: str | None
    max_redemptions: int | None
    max_per_account: int
    redeemed: int
    valid_from: AwareDatetime | None
    valid_until: AwareDatetime | None
    is_active: bool
    created_at: AwareDatetime
