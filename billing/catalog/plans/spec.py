"""The catalog as people write it: catalog.yaml, and the bodies of the admin routes.

A section per thing for sale, each a mapping by key; unknown fields and floats are refused.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from billing.catalog.payment_kinds.spec import PaymentKindSpec
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import AddOn, Currency, DunningPolicy, Limit, Rollover, Seats
from billing.catalog.products.schemas import Name
from billing.catalog.products.spec import MeterSpec, ProductKey, ProductSpec
from billing.catalog.rating.schemas import Amount
from billing.catalog.taxes.schemas import STANDARD
from billing.catalog.taxes.spec import TaxesSpec
from billing.core.currencies import known
from billing.core.periods import Interval

Minor = Annotated[int, Field(strict=True, ge=0, lt=10**15)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


Granted = Annotated[Amount, Field(le=10**12)]
"""Credits that arrive at once: no number of times fills a ledger."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PriceSpec(_Spec):
    """A price in minor units; in YAML also the bare number."""

    amount_minor: Minor
    """The price, in minor units: 1900 is 19.00 USD, and 1500 is 1500 JPY."""
    minimum_minor: Annotated[Minor, Field(gt=0)] | None = None
    """Of a plan: the least that a period comes to, with all that is used in it."""
    stripe_price_id: Annotated[str, StringConstraints(max_length=255)] | None = None
    """Your own id of the price at Stripe; only shown."""


def _bare_number(value: Any) -> Any:
    return {"amount_minor": value} if isinstance(value, (int, float)) else value


def _interval_words(words: str) -> str:
    return rules.show_interval(rules.parse_interval(words))


PricedIn = Annotated[Currency, AfterValidator(known)]
"""The currency of a price."""
OnePrice = Annotated[PriceSpec, BeforeValidator(_bare_number)]
Every = Annotated[str, StringConstraints(max_length=12), AfterValidator(_interval_words)]
"""`month`, `year`, `3 months`."""


class PlanSpec(_Spec):
    """A plan: what it gives, how it behaves, and `prices` by interval and currency."""

    family: Name
    """The line of plans that it belongs to; a recommended plan is of the same one."""
    name: Words
    """The name that customers see, also on invoices."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    """A sentence for customers."""
    features: dict[Name, bool | int | str] = {}
    """Entitlements beside its limits: a switch, a number or a text by key."""
    limits: tuple[Limit, ...] = ()
    """The units of meters that it includes; a meter has one limit."""
    add_ons: tuple[AddOn, ...] = ()
    """Extra units that its subscribers may buy on top of it."""
    seats: Seats | None = None
    """The numbers of seats it is sold by; null: once per subscription."""
    trial_days: Annotated[int, Field(ge=0, le=730)] = 0
    """Days of its free trial; 0: none."""
    monthly_credits: Granted = Decimal(0)
    """Credits that each allowance cycle brings."""
    allowance: Every = "month"
    """The length of an allowance cycle, of which each price has a whole number."""
    billing_threshold: dict[Currency, Annotated[Minor, Field(gt=0)]] = {}
    """Use beyond the plan that is invoiced at once, in minor units; left out: with the cycle."""
    past_due_access: Literal["full", "no_new_overage", "none"] = "no_new_overage"
    """Access while it is past due: all, nothing beyond the limits, or nothing."""
    unpaid_limit: dict[Currency, Annotated[Minor, Field(gt=0)]] = {}
    """The most that may be used and not paid, in minor units; left out: 100 whole units."""
    trial_end_behavior: Literal["cancel", "pause", "invoice"] = "cancel"
    """The end of a trial without a card: cancellation, a pause, or an invoice that is owed."""
    unpaid_days: Annotated[int, Field(ge=1, le=730)] = 60
    """Days after which an `unpaid` subscription ends."""
    dunning: DunningPolicy = DunningPolicy()
    """The recovery of an unpaid invoice."""
    rollover: Rollover = Rollover()
    """The rule for unspent credits at the end of their cycle."""
    tax_category: Name = STANDARD
    """The kind of goods that it is, where tax rates differ: a name in `taxes`."""
    stripe_product_id: Annotated[str, StringConstraints(max_length=255)] | None = None
    """Your own id of the product at Stripe; only shown."""
    is_active: bool = True
    """False: closed to new subscribers."""
    prices: dict[Every, dict[PricedIn, OnePrice]] = {}
    """By interval (`month`, `year`, `3 months`) and currency; a bare number is `amount_minor`."""

    @field_validator("prices", mode="wrap")
    @classmethod
    def _one_key_per_interval(cls, prices: Any, read: ValidatorFunctionWrapHandler) -> Any:
        """Of `month` and `months` one would hold, and nobody could see which."""
        known = read(prices)
        if len(known) != len(prices):
            raise ValueError(f"two keys name the same interval: {', '.join(map(str, prices))}")
        return known

    @field_validator("limits")
    @classmethod
    def _one_limit_per_meter(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        if len({limit.meter for limit in limits}) != len(limits):
            raise ValueError("a meter can have only one limit")
        return limits

    @model_validator(mode="after")
    def _add_ons_add_to_a_limit(self) -> Self:
        keys = [add_on.key for add_on in self.add_ons]
        if len(set(keys)) != len(keys):
            raise ValueError("each add-on needs its own key in a plan")
        limited = {limit.meter for limit in self.limits}
        for add_on in self.add_ons:
            if add_on.meter not in limited:
                raise ValueError(f"add-on {add_on.key}: the plan has no limit on {add_on.meter}")
        return self

    @model_validator(mode="after")
    def _sold_for_something(self) -> Self:
        if self.is_active and not any(self.prices.values()):
            raise ValueError("an active plan needs a price; set 0 if it is free")
        return self

    @model_validator(mode="after")
    def _cycles_fit_into_periods(self) -> Self:
        """A cycle ends with its period, and the next one grants anew: one that is cut would be
        given twice."""
        for every in self.prices:
            if not self.allowance_interval.fits_into(rules.parse_interval(every)):
                raise ValueError(
                    f"the price per {every} is not for a whole number of allowance cycles"
                    f" ({self.allowance}): set `allowance: {every}`"
                )
        return self

    @property
    def allowance_interval(self) -> Interval:
        """The allowance cycle."""
        return rules.parse_interval(self.allowance)


class PackSpec(_Spec):
    """A credit pack with `prices` by currency."""

    name: Words
    """The name that customers see, also on invoices."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    """A sentence for customers."""
    credits: Annotated[Granted, Field(gt=0)]
    """Credits that it grants."""
    tax_category: Name = STANDARD
    """The kind of goods that it is, where tax rates differ: a name in `taxes`."""
    is_active: bool = True
    """False: not sold any more."""
    prices: dict[PricedIn, OnePrice] = {}
    """By currency, above 0; a bare number is `amount_minor`."""

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if self.is_active and not self.prices:
            raise ValueError("an active pack needs a price")
        if any(price.minimum_minor is not None for price in self.prices.values()):
            raise ValueError("a pack cannot have a minimum")
        if any(price.amount_minor == 0 for price in self.prices.values()):
            raise ValueError("a pack cannot be free; grant credits instead")
        return self


class CostSpec(_Spec):
    """The cost of one operation in credits; an inactive row falls back to the built-in cost."""

    cost: Amount
    """Credits that the operation costs."""
    is_active: bool = True
    """False: the built-in cost holds."""


def _bare_cost(value: Any) -> Any:
    return value if isinstance(value, dict) else {"cost": value}


class CatalogSpec(_Spec):
    """A whole catalog. What it does not list is retired, never deleted.

    `default_plan` is what an account without a subscription has; left out it is the plan `free`,
    where there is one.
    """

    default_plan: Name | None = "free"
    """The plan of accounts without a subscription; null: they have none."""
    plans: dict[Name, PlanSpec] = {}
    """Plans to subscribe to, in the order in which they are shown."""
    packs: dict[Name, PackSpec] = {}
    """Credits sold together."""
    credit_costs: dict[Name, Annotated[CostSpec, BeforeValidator(_bare_cost)]] = {}
    """Credits that an operation costs; a bare number is its `cost`."""
    meters: dict[Name, MeterSpec] = {}
    """Things that are counted."""
    products: dict[ProductKey, ProductSpec] = {}
    """Products that are used, by the id that callers send, such as `gpt-4`."""
    taxes: TaxesSpec = TaxesSpec()
    """The countries and regions in which tax is collected."""
    payment_methods: dict[Name, PaymentKindSpec] = {}
    """Ways to pay, in the order in which they are offered."""

    @model_validator(mode="after")
    def _default_plan_is_listed(self) -> Self:
        named = "default_plan" in self.model_fields_set
        if named and self.default_plan not in (None, *self.plans):
            raise ValueError(f"default_plan: there is no plan {self.default_plan!r}")
        return self

    @property
    def default_key(self) -> str | None:
        """The key of the plan of accounts without a subscription."""
        return self.default_plan if self.default_plan in self.plans else None

    @model_validator(mode="after")
    def _what_is_used_is_counted(self) -> Self:
        """A limit on a meter that is not there limits nothing: such use would be free."""
        named = [
            (f"plans.{key}.limits", limit.meter)
            for key, plan in self.plans.items()
            for limit in plan.limits
        ]
        named += [(f"products.{key}", product.meter) for key, product in self.products.items()]
        for place, meter in named:
            if meter not in self.meters:
                raise ValueError(f"{place}: there is no meter {meter!r}")
        return self
