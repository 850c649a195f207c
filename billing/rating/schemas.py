"""What usage costs, as data: price terms with their tiers, a plan's allowance, a rated quantity.

Amounts are exact decimals of credits or whole currency units; quantities are of a meter's unit.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from billing.catalog.schemas import Amount, Then

CREDIT: Final = "CREDIT"
"""The currency of prices in credits, beside ISO 4217 codes."""

Model = Literal["flat", "per_unit", "graduated", "volume", "package"]
Method = Literal[
    "wallet_deduction", "payment_charge", "credit_consumption", "subscription_included"
]
Preference = Literal["wallet_deduction", "credit_consumption", "payment_charge"]
"""How an account would rather pay what its plan does not include."""
PriceCurrency = Annotated[str, StringConstraints(pattern=r"^([A-Z]{3}|CREDIT)$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tier(_Frozen):
    """Units up to and with `up_to` (None: all the rest), and what they cost."""

    up_to: Amount | None = None
    unit_price: Amount = Decimal(0)
    flat_price: Amount = Decimal(0)
    """Once, with the tier's first unit."""


class PriceTerms(_Frozen):
    """How the units of one allowance cycle are priced [B13].

    flat: `unit_price` once, with the first unit. per_unit: each unit. graduated: each unit by the
    tier it falls in. volume: all units by the tier the last one falls in. package: each begun
    package of `package_size` units costs `unit_price`. The first `free_units` cost nothing.
    """

    model: Model = "per_unit"
    unit_price: Amount = Decimal(0)
    package_size: Annotated[Amount, Field(gt=0)] = Decimal(1)
    free_units: Amount = Decimal(0)
    tiers: tuple[Tier, ...] = ()

    @model_validator(mode="after")
    def _tiers_cover_everything(self) -> Self:
        if (self.model in ("graduated", "volume")) != bool(self.tiers):
            raise ValueError("`tiers` belong to the models graduated and volume, and only to them")
        if not self.tiers:
            return self
        ends = [tier.up_to for tier in self.tiers]
        if ends[-1] is not None or None in ends[:-1]:
            raise ValueError("the last tier, and only it, is open: leave out its `up_to`")
        known = [end for end in ends if end is not None]
        if known != sorted(set(known)) or (known and known[0] <= 0):
            raise ValueError("tiers ascend, from above 0")
        return self


class Allowance(_Frozen):
    """What a plan includes of a meter in the current cycle, and what follows [H6]."""

    included: Amount
    used: Amount = Decimal(0)
    then: Then = "block"
    price: Amount = Decimal(0)
    """Of one unit of overage, in the subscription's currency."""


class Rating(_Frozen):
    """One rated quantity: how it divides, and what the charged part costs."""

    quantity: Amount
    included: Amount
    """Covered by the plan's allowance."""
    charged: Amount
    """The rest: priced by the product's terms, its free units among them."""
    total: Amount
    unit_price: Amount
    is_free_tier: bool
    is_included: bool
