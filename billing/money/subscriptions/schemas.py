"""Subscriptions as rows read and as requests made."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.catalog.plans.schemas import Plan, Price
from billing.core.frozen import Frozen
from billing.core.periods import Interval, Unit
from billing.matters.effects import Row
from billing.money.contracts.schemas import EarlyEnd
from billing.money.subscriptions.states import State

Collection = Literal["charge", "send_invoice"]
"""Charge a card, or send the invoice to a customer who pays by transfer."""
CancelReason = Literal[
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
]  # fmt: skip
ChangeKind = Literal["add_ons", "extend", "pause", "plan", "price", "resume"]
PauseReason = Literal["debt_settled", "requested", "trial_ended"]
ChangeStatus = Literal["pending", "scheduled", "applied", "failed", "expired", "canceled"]
When = Literal["now", "period_end"]
Rest = Literal["none", "credit", "refund"]
"""The fate of what is paid and not used at an end now: kept, to the money balance, or to its payer.
"""


class NewSubscription(Frozen):
    """The customer's order."""

    plan: str
    interval: Interval
    currency: str | None = None
    quantity: int = 1
    method_id: UUID | None = None
    collection: Collection = "charge"
    days_until_due: int | None = None
    pay_by_card: bool = False
    """The client confirms the first payment, even where a saved card exists."""
    trial: bool = True
    use_balance: bool = True
    """The customer's money with us pays first."""
    coupon: str | None = None
    billing_day: int | None = None
    """The day of the month that periods start on; the first one is short."""
    expected_minor: int | None = None
    """The price per interval that the buyer saw; any other is refused."""


class Commitment(Frozen):
    """The least that a subscription spends from one instant to another."""

    amount_minor: int
    periods: int
    on_early_end: EarlyEnd
    since: AwareDatetime
    ends_at: AwareDatetime


class Minimum(Frozen):
    """The least that the time from one instant to another comes to."""

    since: AwareDatetime
    until: AwareDatetime
    least_minor: int


class Subscription(Row):
    """A row of `subscriptions`; amounts in ISO minor units per interval."""

    TABLE: ClassVar[str] = "subscriptions"

    account_id: UUID
    plan_id: UUID
    plan_key: str
    price_id: UUID
    currency: str
    amount_minor: int
    interval_unit: Unit
    interval_count: int
    status: State
    anchor_wall: datetime
    zone: str
    period_number: int
    current_period_start: AwareDatetime
    current_period_end: AwareDatetime
    cycle_start: AwareDatetime
    cycle_end: AwareDatetime
    cycle_whole_end: AwareDatetime | None = None
    """The end of the whole cycle, of which an end at a date cuts off a part."""
    cycle_rest_of: AwareDatetime | None = None
    """The start of the cycle that was cut so, where this one is its rest."""
    trial_end: AwareDatetime | None = None
    trial_end_behavior: str = "cancel"
    cancel_at_period_end: bool = False
    cancel_at: AwareDatetime | None = None
    canceled_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    end_reason: str | None = None
    incomplete_expires_at: AwareDatetime | None = None
    superseded_at: AwareDatetime | None = None
    unpaid_at: AwareDatetime | None = None
    unserved_since: AwareDatetime | None = None
    """While it is `unpaid`: its time until then counts as used, later time as not served."""
    pause_reason: str | None = None
    kept_until: AwareDatetime | None = None
    """While it pauses: nothing of the time until then is given back."""
    billing_threshold_minor: int | None = None
    stripe_subscription_id: str | None = None
    payment_method_id: UUID | None = None
    collection: Collection = "charge"
    days_until_due: int | None = None
    cancel_reason: str | None = None
    cancel_comment: str | None = None
    contract_id: UUID | None = None
    minimum_minor: int | None = None
    minimum_since: AwareDatetime | None = None
    """The instant of the running period from which its minimum holds; None: all of it."""
    minimum_before_minor: int | None = None
    """The least of the period's time before that."""
    minimum_share: str | None = None
    """The part of a whole minimum that the time since then comes to, where days were given to the
    period; None: the part of a whole period that it is.
    """
    minimums_unbilled: list[dict[str, Any]] = Field(default_factory=list)
    """The least of each period that closed while `unpaid`, oldest first, until an invoice asks for
    it.
    """
    commitment: dict[str, Any] | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def served_until(self) -> datetime | None:
        """While it is `unpaid`, and once it ended so: the end of the time that counts as served."""
        # The release before makes one active again, and leaves the instant where it is.
        return self.unserved_since if self.unpaid_at is not None else None

    @property
    def ends(self) -> bool:
        """True where an end is scheduled."""
        return self.cancel_at_period_end or self.cancel_at is not None

    @property
    def ends_with_period(self) -> bool:
        """True where no period comes after the one that runs."""
        at_a_date = self.cancel_at is not None and self.cancel_at <= self.current_period_end
        return self.cancel_at_period_end or at_a_date

    @property
    def committed(self) -> Commitment | None:
        """Its commitment, as data."""
        return Commitment.model_validate(self.commitment) if self.commitment else None

    @property
    def unbilled_minimums(self) -> tuple[Minimum, ...]:
        """The least of periods of before that no invoice has asked for, as data."""
        return tuple(map(Minimum.model_validate, self.minimums_unbilled))

    @property
    def interval(self) -> Interval:
        """The price's interval."""
        return Interval(unit=self.interval_unit, count=self.interval_count)


class Item(Row):
    """A row of `subscription_items`; `amount_minor` per unit and interval.

    An add-on has no price row; each gives `units` of `meter` per cycle.
    """

    TABLE: ClassVar[str] = "subscription_items"

    account_id: UUID
    subscription_id: UUID
    kind: str
    price_id: UUID | None = None
    description: str
    quantity: int
    next_quantity: int | None = None
    amount_minor: int
    add_on: str | None = None
    meter: str | None = None
    units: Decimal | None = None

    @property
    def lasting(self) -> int:
        """The quantity from the next period on."""
        return self.quantity if self.next_quantity is None else self.next_quantity


class Portion(Frozen):
    """Units of a cycle that come or go within it, with an add-on or with another plan."""

    add_on: str | None = None
    """None: the units are the plan's own."""
    meter: str
    units: Decimal
    """Beside those of its whole quantity: below zero of what comes, above it of what goes. Not
    rounded, as the sum of a cycle is.
    """
    decimals: int | None = None
    """Of an add-on: that sum is rounded to so many. None of a portion that was rounded itself."""
    restated: bool = False
    """True if its lines of before are credited: those from this change on are all that bill it."""


class SubscriptionChange(Row):
    """A row of `subscription_changes`: what is wanted, and the draft that is paid for it first.

    One that is scheduled has no draft: the renewal bills it.
    """

    TABLE: ClassVar[str] = "subscription_changes"

    account_id: UUID
    subscription_id: UUID
    kind: ChangeKind
    wanted: dict[str, Any]
    terms: dict[str, Any] = Field(default_factory=dict)
    """Of a change of plan, price or add-ons now: `Terms`."""
    invoice_id: UUID | None = None
    status: ChangeStatus
    reason: str | None = None
    expires_at: AwareDatetime | None = None
    effective_at: AwareDatetime | None = None
    """The period that ends then, or the next one after it, ends with a scheduled change."""
    created_at: AwareDatetime
    decided_at: AwareDatetime | None = None

    @property
    def portions(self) -> tuple[Portion, ...]:
        """The add-ons that come or go with it."""
        return tuple(map(Portion.model_validate, self.terms.get("portions", ())))

    @property
    def draft_id(self) -> UUID:
        """The draft that is paid for it first."""
        if self.invoice_id is None:
            raise ValueError("a scheduled change has no draft of its own")
        return self.invoice_id


class PlanWish(Frozen):
    """Another plan, interval, number of seats or add-ons; None: as it is. And a coupon for it."""

    plan: str | None = None
    interval: Interval | None = None
    quantity: int | None = None
    when: When | None = None
    """None: up at once, down with the next period."""
    add_ons: dict[str, int] | None = None
    """All that there are to be, by key."""
    coupon: str | None = None
    though_closed: bool = False
    """Its own plan at the price of now, also where that is not on sale any more: an operator moves
    its subscribers."""


class Offered(Frozen):
    """A plan on sale with one of its prices in the subscription's currency; None: it has none."""

    plan: Plan
    price: Price | None


class Note(Frozen):
    """Time not used of an invoice, to be taken back by a credit note on it."""

    invoice_id: UUID
    amount_minor: int
    lines: tuple[dict[str, Any], ...] = ()
    """The parts of its lines in that amount, as the note names them."""


class Terms(Frozen):
    """The terms of a subscription after a change, and what the change gives back."""

    plan_id: UUID
    price_id: UUID
    unit_minor: int
    """Of one seat, per interval."""
    interval: Interval
    quantity: int
    minimum_minor: int | None = None
    """The least that a period comes to."""
    resets: bool = False
    """True if a new period begins with the change."""
    credits: Decimal = Decimal(0)
    """Credits that come with it; below zero: that go with it."""
    credits_before: Decimal | None = None
    """The credits of its whole cycle by the terms of before; None: nobody kept them."""
    credits_missed: Decimal = Decimal(0)
    """Of those that go, such as had not come: where money brings them later, so many fewer come."""
    notes: tuple[Note, ...] = ()
    add_ons: dict[str, int] | None = None
    """All that there are to be with it; None: those that the plan sells on the same terms."""
    fewer_now: bool = False
    """True if add-ons that are not wanted go at once, not with the period."""
    cycle_start: AwareDatetime | None = None
    """The cycle in which it comes, and that of the portions."""
    gave_back_at: AwareDatetime | None = None
    """The end of the time of the cycle into which no use may be dated any more: its allowance went
    back, or the meter has no limit any more."""
    portions: tuple[Portion, ...] = ()
    stay_beyond: dict[str, Decimal] = Field(default_factory=dict)
    """Units of levels that it includes and does not take over: they were beyond the plan of before.
    """
    credited_since: AwareDatetime | None = None
    """The instant from which it credits time, where what is used until it comes counts as used;
    None: it does not count."""

    @property
    def amount_minor(self) -> int:
        """The price of all seats per interval."""
        return self.unit_minor * self.quantity


class GivenBack(Frozen):
    """Money that was paid and not used, by the end of its subscription."""

    credited_minor: int
    """By credit notes, but for what these took off what was owed."""
    refunded_minor: int
    """The part of it that goes back to its payer."""

    @property
    def balance_minor(self) -> int:
        """The rest: on the money balance, or it has paid from there what was owed."""
        return self.credited_minor - self.refunded_minor


class Paying(Frozen):
    """The way to pay a change: by the saved card, one that is named, or one the client confirms.

    `change_id` is the change's own, so that a repeated request finds it.
    """

    change_id: UUID
    method_id: UUID | None = None
    by_card: bool = False
    use_balance: bool = True
    """The customer's money with us pays first."""


class CrossedPeriod(Row):
    """A row of `usage_periods` whose use reached the billing threshold and is not billed yet."""

    TABLE: ClassVar[str] = "usage_periods"

    subscription_id: UUID | None = None
    start_at: AwareDatetime
    end_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    threshold_at: AwareDatetime | None = None
    threshold_number: int = 0
