"""Uses to record, their results, and usage as it is read.

Quantities and credits are exact decimals; instants are UTC.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter

from billing.catalog.rating.schemas import BY_CARD, BY_PLAN, CREDIT, PriceTerms, StatedTerms, Then
from billing.core.frozen import Frozen
from billing.core.money import ZERO

Status = Literal["pending", "processing", "completed", "failed", "refunded"]


class UseKind(NamedTuple):
    """The fields that many uses share: the product used, and the payment method."""

    product_id: str | None
    service_type: str | None
    feature_type: str | None
    operation: str | None
    model: str | None
    method: str | None
    defer: bool


class Use(NamedTuple):
    """One use to record; `amount` and `detail` are texts, `at` None means now.

    `record_id` is its record's id in hexadecimal digits, if account and event do not determine it:
    for a member's own event, and for a use without an event. The caller chooses it, so that it can
    repeat a request whose answer was lost. `record_id` is not part of the body.
    """

    account_id: UUID
    kind: UseKind
    amount: str
    event_id: str | None = None
    at: datetime | None = None
    user_id: str | None = None
    organization_id: str | None = None
    session_id: str | None = None
    request_id: str | None = None
    detail: str | None = None
    hold_id: UUID | None = None
    """The hold that pays it, instead of the credits that burn first."""
    record_id: str | None = None

    def body(self) -> tuple[object, ...]:
        """Return the fields that a repeated event must equal. Stored as a hash: never reorder."""
        facts = (
            self.amount, self.at, self.user_id, self.organization_id, self.session_id,
            self.request_id, self.detail,
        )  # fmt: skip
        return facts if self.hold_id is None else (*facts, self.hold_id)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Result of one use: `recorded`, `duplicate`, `conflict`, or the code of its refusal."""

    verdict: str
    id: UUID
    meter: str | None = None
    unit_price: Decimal = ZERO
    total: Decimal = ZERO
    currency: str = CREDIT
    method: str = BY_PLAN
    status: str = "completed"
    is_free: bool = False
    is_included: bool = False
    required: Decimal | None = None
    available: Decimal | None = None


class BillingRecord(Frozen):
    """A use with its rating, as stored."""

    id: UUID
    account_id: UUID
    event_id: str | None
    user_id: str | None
    organization_id: str | None
    session_id: str | None
    request_id: str | None
    product_id: str | None
    service_type: str | None
    feature_type: str | None
    operation: str | None
    model: str | None
    meter: str
    usage_amount: Decimal
    included_units: Decimal
    charged_units: Decimal
    unit_price: Decimal
    total_amount: Decimal
    currency: str
    billing_method: str
    billing_status: Status
    is_free_tier: bool
    is_late: bool
    kind: Literal["usage", "true_up"] = "usage"
    voids: UUID | None = None
    """The use that this record voids; this record's figures are negative."""
    transaction_id: UUID | None
    detail: dict[str, Any] | None
    period_start: AwareDatetime
    occurred_at: AwareDatetime
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def is_included(self) -> bool:
        """True if the plan's allowance covers the whole use."""
        return self.charged_units == 0

    @property
    def is_owed(self) -> bool:
        """True if it awaits payment: it was deferred, or its payment failed (usage_is_owed)."""
        put_off = self.currency == CREDIT and self.billing_method != BY_CARD
        return self.billing_status == "failed" or (self.billing_status == "pending" and put_off)

    @property
    def is_charging(self) -> bool:
        """True while a card is being charged for it (usage_is_charging)."""
        return self.billing_method == BY_CARD and self.billing_status in ("pending", "processing")


class Counter(Frozen):
    """An owner's use of a meter in one cycle; `covered` are the units not sold beyond the plan.

    Voided use that an invoice has charged keeps its place in `overage`; the `net_…` are without it.
    """

    meter: str
    quantity: Decimal
    events: int
    maximum: Decimal
    last_value: Decimal
    credits: Decimal
    overage: Decimal
    overage_total: Decimal
    covered: Decimal
    net_overage: Decimal
    net_overage_total: Decimal


class PricedUnits(NamedTuple):
    """Units that a product's price has rated in one cycle, and their cost in credits and money.

    `uses` is counted up to the price's number of free uses.
    """

    units: Decimal
    credits: Decimal
    money: Decimal
    uses: int = 0


class PeriodLimit(Frozen):
    """The units that a plan gives of one meter in a cycle (usage_limits_of.sql)."""

    included: Decimal
    """Units from the period's beginning on, beside those in `carried`."""
    carried: Decimal = ZERO
    """Units that were included, and used, before the period began."""
    then: Then | Literal["none"] = "none"
    price: str | dict[str, Any] | None = None
    """Of units beyond it: of one as a text, or terms as an object."""
    before: Decimal | None = None
    """For a level: what was included before the plan changed."""
    beyond: Decimal | None = None
    """Units of a level that stay beyond the plan."""

    @property
    def whole(self) -> Decimal:
        """All units that the cycle includes."""
        return self.included + self.carried

    @property
    def overage(self) -> PriceTerms | None:
        """The price of units beyond it; None if none are sold."""
        return price_terms(self.price) if self.price and self.then == "overage" else None

    @property
    def is_hard(self) -> bool:
        """True if use beyond it is refused, unless something else pays."""
        return self.then == "block"

    @property
    def is_withheld(self) -> bool:
        """True if units beyond it are sold, but not while an invoice is overdue: it blocks then,
        and keeps its price (usage_limits_of.sql).
        """
        return self.is_hard and self.price not in (None, "0")

    def used(self, counter: Counter | None) -> Decimal:
        """Return the use since the period's beginning that counts against `included`.

        That is all use, but where an allowance grew, or was freed, after units beyond it were
        sold: these stay beyond it. A level that stays beyond a change of its plan counts whole.
        """
        if counter is None:
            return ZERO
        is_level = self.before is not None or self.beyond is not None
        return counter.quantity if is_level or counter.covered >= self.included else counter.covered


_TERMS: Final[TypeAdapter[PriceTerms]] = TypeAdapter(StatedTerms)


def price_terms(price: str | dict[str, Any]) -> PriceTerms:
    """Return a limit's price as terms."""
    return _TERMS.validate_python(price)


class Period(Frozen):
    """An allowance cycle, with the plan's limits in it.

    `no_entitlement` says why no plan gives access.
    """

    start_at: AwareDatetime
    end_at: AwareDatetime
    zone: str
    subscription_id: UUID | None
    currency: str | None
    limits: dict[str, PeriodLimit]
    no_entitlement: str | None = None
    carried_since: AwareDatetime | None = None


class Coming(NamedTuple):
    """The period that a use meets at a later instant, if its terms are known until then."""

    at: datetime
    is_known: bool
    period: Period
