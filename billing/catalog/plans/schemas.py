"""Plans, prices, packs and entitlements, as the rest of the product sees them.

Money is integer minor units beside a currency; credits and unit prices are exact decimals, in
JSON as strings.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    Field,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from billing.catalog.products.schemas import Name
from billing.catalog.rating.schemas import Amount, OverageTerms, Then
from billing.core.frozen import Strict
from billing.core.money import MINOR_LIMIT, ZERO
from billing.core.periods import MONTH, Interval

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, upper case."""
Minor = Annotated[int, Field(strict=True, ge=0, lt=MINOR_LIMIT)]
"""Money in minor units: a whole number, never a float, never a string."""
PositiveMinor = Annotated[Minor, Field(gt=0)]
# Of an account: with its seats and add-ons, beyond the bound of what a plan includes.
_MANY: Final = {"type": "string", "pattern": r"^\d{1,26}(\.\d{1,12})?$", "example": "2.00"}


class Limit(Strict):
    """The units of a meter that a plan includes per allowance cycle, and the rule beyond them."""

    meter: Name
    """The meter that it limits."""
    included: Annotated[Amount, WithJsonSchema(_MANY, mode="serialization")]
    """Units of the meter per allowance cycle."""
    then: Then = "block"
    """`block`: use beyond them is refused. `overage`: charged by `prices`. `notify`: free, with
    an event."""
    prices: dict[Currency, OverageTerms] = Field({})
    """Prices of a cycle's overage, in whole currency units: {"USD": "0.002"} per unit, or tiers."""

    @model_validator(mode="after")
    def _overage_has_prices(self) -> Self:
        if (self.then == "overage") != bool(self.prices):
            raise ValueError("`prices` are required with `then: overage` and not allowed otherwise")
        return self


class AddOn(Strict):
    """Extra units of a meter that a plan's subscribers may buy on top of it, per cycle [B8]."""

    key: Name
    """Identifies the add-on in requests."""
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    """The name that customers see, also on invoices."""
    meter: Name
    """A meter that the plan limits."""
    units: Annotated[Amount, Field(gt=0)]
    """Units of the meter that one add-on adds per allowance cycle."""
    prices: Annotated[dict[Currency, PositiveMinor], Field(min_length=1)]
    """Price of one add-on per cycle, in minor units such as {"USD": 500}."""


class Seats(Strict):
    """The number of seats that a subscription may have, each at the plan's price.

    `limits` and `credits` say whether each seat has what the plan includes.
    """

    least: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    """The smallest number of seats."""
    most: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 10_000
    """The largest number of seats."""
    limits: StrictBool = True
    """Each seat has the plan's limits; false: the subscription has them once."""
    credits: StrictBool = True
    """Each seat has the plan's credits; false: the subscription has them once."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError("`least` must not be above `most`")
        return self


FinalAction = Literal["unpaid", "cancel", "uncollectible"]


class DunningPolicy(Strict):
    """Days on which an unpaid invoice is retried, and the final action after the last try."""

    days: tuple[Annotated[int, Field(ge=0, le=90)], ...] = Field((0, 3, 7), min_length=1)
    """Days after the renewal; the first is the renewal itself."""
    hour: Annotated[int, Field(ge=0, le=23)] | None = None
    """Hour of day in the customer's zone; null: the renewal's own time of day."""
    final_action: FinalAction = "unpaid"
    """The subscription becomes `unpaid`, ends, or continues with the invoice written off."""
    grace_days: Annotated[int, Field(ge=1, le=30)] = 1
    """Days from the last slot's own day to the final action; at least 24 hours from a late try."""

    @model_validator(mode="after")
    def _days_ascend_from_zero(self) -> Self:
        if self.days[0] != 0 or list(self.days) != sorted(set(self.days)):
            raise ValueError("`days` must start at 0 and ascend")
        return self


class Rollover(Strict):
    """The rule for a cycle's unspent credits: they expire, or up to `credits` of them roll over."""

    policy: Literal["none", "cap"] = "none"
    """`none`: they expire with the cycle. `cap`: up to `credits` roll over into the next one."""
    credits: Amount = ZERO
    """The maximum that rolls over with `cap`, including credits that rolled over earlier."""


DaysAhead = Annotated[int, Field(strict=True, ge=1, le=365)]


class Notices(Strict):
    """The days ahead on which a customer is told that a trial ends, or a long period renews."""

    trial: tuple[DaysAhead, ...] = (7, 3)
    """Days before the end of a trial; an empty list: no notice."""
    renewal: tuple[DaysAhead, ...] = (30, 7)
    """Days before a renewal; an empty list: no notice."""
    renewal_over_days: Annotated[int, Field(strict=True, ge=0, le=730)] = 180
    """Only the renewal of a period longer than this has notices."""

    @model_validator(mode="after")
    def _days_descend(self) -> Self:
        for days in (self.trial, self.renewal):
            if list(days) != sorted(set(days), reverse=True):
                raise ValueError("the days of `trial` and `renewal` must descend")
        return self

    def renewal_of(self, length: timedelta) -> tuple[int, ...]:
        """Return the days ahead for the renewal of a period of this length."""
        return self.renewal if length > timedelta(days=self.renewal_over_days) else ()


class Plan(Strict):
    """One version of a plan; a subscription keeps the version it was sold with."""

    id: UUID
    """The version of the plan."""
    key: str
    """The key of the plan."""
    version: int
    """The number of the version."""
    family: str
    """The group of plans that it belongs to."""
    name: str
    """The name that customers see."""
    description: str
    """A sentence for customers."""
    features: dict[str, bool | int | str]
    """Entitlements besides its limits: a switch, a number or a text by key."""
    limits: tuple[Limit, ...]
    """The units that it includes of each meter."""
    add_ons: tuple[AddOn, ...] = ()
    """Extra units that its subscribers may buy on top of it."""
    seats: Seats | None = None
    """None: the plan is sold once per subscription."""
    trial_days: int
    """Days of its free trial; 0: none."""
    monthly_credits: Amount
    """Credits per allowance cycle [B12]."""
    allowance: Interval = MONTH
    """The length of an allowance cycle."""
    billing_threshold: dict[Currency, int] = Field({})
    """Use beyond the plan is invoiced as soon as it reaches this amount in minor units."""
    past_due_access: Literal["full", "no_new_overage", "none"]
    """Access while it is past due: full, none beyond the limits, or none."""
    unpaid_limit: dict[Currency, int] = Field({})
    """The maximum unpaid use before money came or while some is owed, in minor units;
    where not set, 100 whole currency units.
    """
    trial_end_behavior: Literal["cancel", "pause", "invoice"]
    """The end of a trial without a card: cancel, pause, or issue an open invoice."""
    unpaid_days: int = 60
    """Days after which an `unpaid` subscription ends by itself."""
    dunning: DunningPolicy
    """The dunning policy for an unpaid invoice."""
    rollover: Rollover
    """The rule for unspent credits at the end of their cycle."""
    notices: Notices = Notices()
    """The days ahead on which a customer is told of a trial's end or a renewal."""
    tax_category: Name = "standard"
    """The tax category of its invoice lines."""
    stripe_product_id: str | None
    """The product at Stripe, if the catalog names one."""
    position: int
    """Its place in lists."""
    is_active: bool
    """Open to new subscribers [B3]."""
    is_current: bool
    """True for the newest version."""
    created_at: AwareDatetime


class Price(Strict):
    """One version of the price of a plan per interval, or of a pack, in one currency."""

    id: UUID
    """The version of the price."""
    kind: Literal["plan", "pack"]
    """The price is of a plan or of a pack."""
    key: str
    """The key of the plan or pack."""
    currency: str
    interval: Interval | None
    """The interval of a plan's price; null: it is of a pack."""
    amount_minor: int
    """The price in minor units; of a plan that is sold by seats, of one seat."""
    minimum_minor: int | None = None
    """The minimum amount of a period, including all use in it."""
    version: int
    """The number of the version."""
    stripe_price_id: str | None
    is_current: bool
    """True for the version on sale."""
    created_at: AwareDatetime


class AgreedPrice(Strict):
    """The price of a plan per interval as agreed with one account."""

    plan: str
    interval: Interval
    currency: Currency
    amount_minor: int
    minimum_minor: int | None = None


class Pack(Strict):
    """A pack of credits."""

    id: UUID
    """The pack."""
    key: str
    """The key of the pack."""
    name: str
    """The name that customers see."""
    description: str
    """A sentence for customers."""
    credits: Amount
    """The credits that it brings."""
    tax_category: Name = "standard"
    """The tax category of its invoice line."""
    position: int
    """Its place in lists."""
    is_active: bool
    """True: it is on sale."""
    created_at: AwareDatetime


class OfferedPlan(NamedTuple):
    """A plan on sale and its price, read together; None: not sold in that currency."""

    plan: Plan
    price: Price | None


class OfferedPack(NamedTuple):
    """A pack on sale and its price, read together; None: not sold in that currency."""

    pack: Pack
    price: Price | None


class CreditCost(Strict):
    """The cost of one operation in credits; `built_in` when no active row sets it [F5]."""

    operation: str
    """The operation, as uses name it."""
    cost: Amount
    """The cost of a unit, in credits."""
    is_active: bool
    """False: no cost of its own is set now."""
    built_in: bool
    """True: the cost comes with the release, and nobody has set another."""


class PastCost(Strict):
    """An earlier cost of an operation in credits, for uses of its time; null: it had none."""

    cost: Amount | None
    """The cost of a unit then, in credits; null: there was none."""
    effective_to: datetime
    """Until when it applied."""


Access = Literal["full", "no_new_overage", "none"]
Withheld = Literal["unpaid", "paused", "past_due", "incomplete", "no_subscription"]
"""The reason why an account has less than full access."""


class Entitlements(Strict):
    """An account's current entitlements: its plan's features and limits, by its access.

    Without an open subscription the default plan's apply. `reason` says why access is not
    `full`.
    """

    plan: str | None
    """The key of the plan; null: none."""
    plan_name: str | None
    """The name of the plan, for people; null: none."""
    subscription_status: str | None
    """The status of the open subscription; null: there is none."""
    access: Access
    reason: Withheld | None = None
    """The reason why the plan gives less than all; null: it gives all."""
    features: dict[str, bool | int | str]
    limits: tuple[Limit, ...]
    """The limits of meters now, with seats and add-ons."""
