"""The catalog as people write it: catalog.yaml, and the bodies of the admin routes.

Each section is a mapping by key; unknown fields and floats are refused.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from billing.catalog.payment_kinds.spec import PaymentKindSpec
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import (
    AddOn,
    Currency,
    DunningPolicy,
    Limit,
    Minor,
    Notices,
    PositiveMinor,
    Rollover,
    Seats,
)
from billing.catalog.products.schemas import Name
from billing.catalog.products.spec import MeterSpec, ProductKey, ProductSpec, Words
from billing.catalog.rating.schemas import Amount
from billing.catalog.taxes.schemas import STANDARD
from billing.catalog.taxes.spec import TaxesSpec
from billing.core.currencies import known
from billing.core.money import ZERO
from billing.core.periods import Interval

MOST_GRANTED: Final = 10**12
Granted = Annotated[Amount, Field(le=MOST_GRANTED)]
"""Credits granted at once, bounded so that repeated grants cannot overflow a ledger."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PriceSpec(_Spec):
    """A price in minor units; in YAML also the bare number."""

    amount_minor: Minor
    """The price, in minor units: 1900 is 19.00 USD, and 1500 is 1500 JPY."""
    minimum_minor: PositiveMinor | None = None
    """Plans only: the minimum amount of a period, including all use in it."""
    stripe_price_id: Annotated[str, StringConstraints(max_length=255)] | None = None
    """Your id of the price at Stripe, for reference only."""


def _bare_number(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError("must be a whole number of minor units, such as 1900, or a mapping")
    return {"amount_minor": value} if isinstance(value, (int, float)) else value


def _interval_words(words: str) -> str:
    return rules.show_interval(rules.parse_interval(words))


PricedIn = Annotated[Currency, AfterValidator(known)]
"""The currency of a price."""
OnePrice = Annotated[PriceSpec, BeforeValidator(_bare_number)]
Every = Annotated[str, StringConstraints(max_length=12), AfterValidator(_interval_words)]
"""`month`, `year`, `3 months`."""


class PlanSpec(_Spec):
    """A plan: its entitlements, its billing rules, and `prices` by interval and currency."""

    family: Name
    """The group of plans that it belongs to; recommendations stay within it."""
    name: Words
    """The name that customers see, also on invoices."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    """A sentence for customers."""
    features: dict[Name, bool | int | str] = {}
    """Entitlements besides its limits: a switch, a number or a text by key."""
    limits: tuple[Limit, ...] = ()
    """The units that it includes of each meter; one limit per meter."""
    add_ons: tuple[AddOn, ...] = ()
    """Extra units that its subscribers may buy on top of it."""
    seats: Seats | None = None
    """The allowed numbers of seats; null: not sold by seat."""
    trial_days: Annotated[int, Field(ge=0, le=730)] = 0
    """Days of its free trial; 0: none."""
    monthly_credits: Granted = ZERO
    """Credits granted in each allowance cycle."""
    allowance: Every = "month"
    """The length of an allowance cycle; the interval of each price is a whole number of them."""
    billing_threshold: dict[PricedIn, PositiveMinor] = {}
    """Use beyond the plan is invoiced early at this amount, in minor units; default: per cycle."""
    past_due_access: Literal["full", "no_new_overage", "none"] = "no_new_overage"
    """Access while it is past due: full, none beyond the limits, or none."""
    unpaid_limit: dict[PricedIn, PositiveMinor] = {}
    """The maximum unpaid use before money came or while some is owed, in minor units;
    default: 100 whole currency units.
    """
    trial_end_behavior: Literal["cancel", "pause", "invoice"] = "cancel"
    """The end of a trial without a card: cancel, pause, or issue an open invoice."""
    unpaid_days: Annotated[int, Field(ge=1, le=730)] = 60
    """Days after which an `unpaid` subscription ends."""
    dunning: DunningPolicy = DunningPolicy()
    """The dunning policy for an unpaid invoice."""
    rollover: Rollover = Rollover()
    """The rule for unspent credits at the end of their cycle."""
    notices: Notices = Notices()
    """The days ahead on which its customers are told that a trial ends, or a long period renews."""
    tax_category: Name = STANDARD
    """The kind of goods that it is, where tax rates differ: a name in `taxes`."""
    stripe_product_id: Annotated[str, StringConstraints(max_length=255)] | None = None
    """Your id of the product at Stripe, for reference only."""
    is_active: StrictBool = True
    """False: closed to new subscribers."""
    prices: dict[Every, dict[PricedIn, OnePrice]] = {}
    """Prices by interval (such as `3 months`) and currency; a bare number is `amount_minor`."""

    @field_validator("prices", mode="wrap")
    @classmethod
    def _one_key_per_interval(cls, prices: Any, read: ValidatorFunctionWrapHandler) -> Any:
        """Refuse `month` beside `months`: one would win, and nobody could see which."""
        known = read(prices)
        if len(known) != len(prices):
            raise ValueError(f"two keys name the same interval: {', '.join(map(str, prices))}")
        return known

    @field_validator("limits", "add_ons")
    @classmethod
    def _known_currencies(cls, parts: Any) -> Any:
        for part in parts:
            for currency in part.prices:
                known(currency)
        return parts

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
        """Refuse cycles that a period's end would cut short: their credits would be granted
        twice."""
        for every in self.prices:
            if not self.allowance_interval.fits_into(rules.parse_interval(every)):
                raise ValueError(
                    f"the price per {every} is not for a whole number of allowance cycles"
                    f" ({self.allowance}): set `allowance: {every}`"
                )
        return self

    @model_validator(mode="after")
    def _seats_stay_within_bounds(self) -> Self:
        """Refuse a price or credits that are too large for as many seats as may be ordered."""
        most = rules.most_seats(self.seats)
        many = f"for {most} seats"
        for every, prices in self.prices.items():
            for currency, price in prices.items():
                if rules.is_too_dear(price.amount_minor, most):
                    raise ValueError(
                        f"the price per {every} in {currency} is too large {many}: lower"
                        " `seats.most`"
                    )
        each = self.seats is not None and self.seats.credits
        if each and self.monthly_credits * most > MOST_GRANTED:
            raise ValueError(
                f"`monthly_credits` are more than {MOST_GRANTED} {many}: lower `seats.most`, or set"
                " `seats.credits: false`"
            )
        return self

    @property
    def allowance_interval(self) -> Interval:
        """The allowance cycle."""
        return rules.parse_interval(self.allowance)


class PackSpec(_Spec):
    """A pack of credits with `prices` by currency."""

    name: Words
    """The name that customers see, also on invoices."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    """A sentence for customers."""
    credits: Annotated[Granted, Field(gt=0)]
    """The number of credits that it grants."""
    tax_category: Name = STANDARD
    """The kind of goods that it is, where tax rates differ: a name in `taxes`."""
    is_active: StrictBool = True
    """False: no longer sold."""
    prices: dict[PricedIn, OnePrice] = {}
    """Prices by currency, above 0; a bare number is `amount_minor`."""

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
    """The cost of one operation in credits; an inactive one falls back to the built-in cost.

    A changed cost is valid from now on: earlier uses keep the cost of their time.
    """

    cost: Amount
    """The operation's cost in credits."""
    is_active: StrictBool = True
    """False: the built-in cost applies."""


def _bare_cost(value: Any) -> Any:
    return value if isinstance(value, dict) else {"cost": value}


class CatalogSpec(_Spec):
    """A whole catalog. Anything not listed is retired, never deleted.

    `default_plan` is the plan of accounts without a subscription; by default it is the plan `free`,
    if there is one.
    """

    default_plan: Name | None = "free"
    """The plan of accounts without a subscription; null: they have none."""
    plans: dict[Name, PlanSpec] = {}
    """Plans, in the order in which they are shown."""
    packs: dict[Name, PackSpec] = {}
    """Packs of credits."""
    credit_costs: dict[Name, Annotated[CostSpec, BeforeValidator(_bare_cost)]] = {}
    """The cost of each operation in credits; a bare number is its `cost`."""
    meters: dict[Name, MeterSpec] = {}
    """Meters, which count use."""
    products: dict[ProductKey, ProductSpec] = {}
    """Products, by the id that callers send, such as `gpt-4`."""
    taxes: TaxesSpec = TaxesSpec()
    """Countries and regions where tax is collected."""
    payment_methods: dict[Name, PaymentKindSpec] = {}
    """Payment methods, in the order in which they are offered."""

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
        """Refuse a limit on an unknown meter: it limits nothing, so that use would be free."""
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
