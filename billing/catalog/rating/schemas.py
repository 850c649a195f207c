"""Price terms with their tiers, a plan's allowance, and a rated quantity, as data.

Amounts are exact decimals of credits or whole currency units; quantities are of a meter's unit.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from billing.core.frozen import Strict
from billing.core.money import CREDIT_DECIMALS, CREDIT_LIMIT, ZERO, show_decimal

CREDIT: Final = "CREDIT"
"""The currency of prices in credits, beside ISO 4217 codes."""
MOST_AMOUNT: Final = CREDIT_LIMIT - 1
"""The maximum unit price shown, however few units share a flat price."""

Model = Literal["flat", "per_unit", "graduated", "volume", "package", "percentage"]
BillingMethod = Literal[
    "wallet_deduction", "payment_charge", "credit_consumption", "subscription_included"
]
BY_CARD: Final = "payment_charge"
"""The payment method of a use that a card is charged for."""
BY_PLAN: Final = "subscription_included"
"""The payment method of a use that costs nothing, or is invoiced beyond what the plan includes."""
BY_PAID_CREDITS: Final = "wallet_deduction"
"""The payment method of a use that only bought credits pay."""
BY_CREDITS: Final = "credit_consumption"
"""The payment method of a use that any credits pay, bought or free."""
Then = Literal["block", "overage", "notify"]
"""The rule beyond the included units of a limit."""
PriceCurrency = Annotated[str, StringConstraints(pattern=r"^([A-Z]{3}|CREDIT)$")]


def _no_float(value: Any) -> Any:
    if isinstance(value, (float, bool)):
        raise ValueError('must be a whole number or a decimal in a string, such as "0.002"')
    return value


_TEXT: Final = {"type": "string", "pattern": r"^\d{1,15}(\.\d{1,12})?$", "example": "2.00"}
Amount = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    Field(
        ge=0, lt=CREDIT_LIMIT, max_digits=27, decimal_places=CREDIT_DECIMALS, allow_inf_nan=False
    ),
    PlainSerializer(show_decimal, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "number"}], "example": "2.00"}, mode="validation"),
    WithJsonSchema(_TEXT, mode="serialization"),
]
"""Credits, an included quantity or a unit price."""


class Tier(Strict):
    """Units up to and including `up_to`, and their price; the last tier covers all the rest."""

    up_to: Amount | None = None
    """The last unit of the tier; omitted in the last tier only."""
    unit_price: Amount = ZERO
    """The price of one unit."""
    flat_price: Amount = ZERO
    """Charged once, with the tier's first unit."""


class Percentage(Strict):
    """The price of a use by its value: a fixed fee and a percentage, within bounds."""

    percent: Annotated[Amount, Field(decimal_places=10)]
    """Percentage of the value beyond the free units."""
    fixed_price: Amount = ZERO
    """Fixed fee per use, added to the percentage."""
    minimum: Amount = ZERO
    """Minimum price of one use, including the fixed fee."""
    maximum: Amount | None = None
    """Maximum price of one use; null: no maximum."""
    free_transactions: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Number of free uses per cycle."""

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("`maximum` must not be below `minimum`")
        return self


class PriceTerms(Strict):
    """The pricing of the units of one allowance cycle [B13].

    flat: `unit_price` once, with the first unit. per_unit: `unit_price` per unit. graduated: each
    unit by the tier it falls in. volume: all units by the tier the last one falls in. package: each
    started package of `package_size` units costs `unit_price`. percentage: the quantity is a value,
    and each use is priced by its own value. The first `free_units` are free.
    """

    model: Model = "per_unit"
    """The pricing model."""
    unit_price: Amount = ZERO
    """Price of a unit, of a package or (flat) of all units, in whole currency units."""
    package_size: Annotated[Amount, Field(gt=0)] = Decimal(1)
    """Units in a package."""
    free_units: Amount = ZERO
    """Number of free units per allowance cycle."""
    tiers: tuple[Tier, ...] = ()
    """Ascending tiers, for the models graduated and volume; the last one is open-ended."""
    percentage: Percentage | None = None
    """Required for the model percentage."""

    @model_validator(mode="after")
    def _percentage_says_its_percent(self) -> Self:
        if (self.model == "percentage") != (self.percentage is not None):
            raise ValueError(
                "`percentage` is required with the model percentage and not allowed otherwise"
            )
        if self.percentage is not None and self.unit_price:
            raise ValueError("the model percentage takes no `unit_price`")
        return self

    @model_validator(mode="after")
    def _tiers_cover_everything(self) -> Self:
        if (self.model in ("graduated", "volume")) != bool(self.tiers):
            raise ValueError(
                "`tiers` are required with the models graduated and volume and not allowed"
                " otherwise"
            )
        if not self.tiers:
            return self
        ends = [tier.up_to for tier in self.tiers]
        if ends[-1] is not None or None in ends[:-1]:
            raise ValueError("leave out `up_to` in the last tier, and only there")
        known = [end for end in ends if end is not None]
        if known != sorted(set(known)) or (known and known[0] <= 0):
            raise ValueError("`up_to` of tiers must ascend from above 0")
        return self

    @property
    def says_a_price(self) -> bool:
        """False if the unit price was omitted: an omission must not make use free."""
        known = self.tiers or self.percentage
        return bool(known) or "unit_price" in self.model_fields_set

    @property
    def free_transactions(self) -> int:
        """The number of free uses per cycle."""
        return self.percentage.free_transactions if self.percentage else 0

    @property
    def is_plain(self) -> bool:
        """True if each unit costs the same, regardless of earlier use."""
        return self.model == "per_unit" and not self.free_units


FREE: Final = PriceTerms()
"""The terms of units that cost nothing."""


def _bare_price(value: Any) -> Any:
    return {"unit_price": value} if isinstance(value, (str, int, Decimal)) else value


def _say_a_price(terms: PriceTerms) -> PriceTerms:
    if not terms.says_a_price:
        raise ValueError('unit_price is missing; set "0" for what is free')
    return terms


def _show_terms(terms: PriceTerms) -> str | PriceTerms:
    return show_decimal(terms.unit_price) if terms.is_plain else terms


StatedTerms = Annotated[
    PriceTerms,
    BeforeValidator(_bare_price, json_schema_input_type=Amount | PriceTerms),
    AfterValidator(_say_a_price),
]
"""Terms with an explicit price; a bare price is per unit."""
OverageTerms = Annotated[
    StatedTerms, PlainSerializer(_show_terms, return_type=str | PriceTerms, when_used="json")
]
"""StatedTerms whose JSON shows a per-unit price as a bare price."""


class IncludedUnits(Strict):
    """The included units of a meter in the current cycle, and how many of them are used [H6]."""

    included: Amount
    used: Amount = ZERO


class Part(NamedTuple):
    """Units of one cycle that cost the same, in credits or whole currency units.

    `amount` is `flat_price` and `units` times `unit_price`, unrounded.
    """

    units: Decimal
    unit_price: Decimal
    flat_price: Decimal
    amount: Decimal


class Rating(Strict):
    """One rated quantity: how it divides, and what the charged part costs."""

    quantity: Amount
    included: Amount
    """Covered by the plan's allowance."""
    charged: Amount
    """The rest, priced by the product's terms; includes the product's free units."""
    total: Amount
    unit_price: Amount
    is_free_tier: bool
    is_included: bool
