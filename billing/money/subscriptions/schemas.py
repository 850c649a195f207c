"""Models of subscriptions: their rows, and the requests for them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.catalog.plans.schemas import Plan, Price
from billing.core.frozen import Frozen
from billing.core.money import ZERO
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
"""At an end now, money paid for unused time is kept, goes to the money balance, or is refunded."""


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
    """Pay from the money balance first."""
    coupon: str | None = None
    billing_day: int | None = None
    """The day of the month on which periods start; the first period is shorter."""
    expected_minor: int | None = None
    """The price per interval that the buyer saw; any other is refused."""


class Commitment(Frozen):
    """The minimum spend of a subscription from one instant to another."""

    amount_minor: int
    periods: int
    on_early_end: EarlyEnd
    since: AwareDatetime
    ends_at: AwareDatetime


class Minimum(Frozen):
    """The minimum charge for the time from one instant to another."""

    since: AwareDatetime
    until: AwareDatetime
    least_minor: int
    tax_category: str | None = None
    """That of the plan of its time; None: that of the plan which is billed with it."""


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
    """The end of the whole cycle, if an end at a date cuts this one short."""
    cycle_rest_of: AwareDatetime | None = None
    """The start of the cycle that was cut short, if this one is its remainder."""
    told_until: AwareDatetime | None = None
    """Its customer has had the notices of a trial's end or a renewal that were due until then."""
    trial_end: AwareDatetime | None = None
    trial_end_behavior: str = "cancel"
    cancel_at_period_end: bool = False
    cancel_at: AwareDatetime | None = None
    canceled_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    end_reason: str | None = None
    money_went_back: bool = False
    incomplete_expires_at: AwareDatetime | None = None
    superseded_at: AwareDatetime | None = None
    unpaid_at: AwareDatetime | None = None
    unserved_since: AwareDatetime | None = None
    """While `unpaid`: time before it counts as used, later time as not served."""
    pause_reason: str | None = None
    kept_until: AwareDatetime | None = None
    """While paused: time before it is not credited."""
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
    """The instant of the current period from which its minimum applies; None: all of it."""
    minimum_before_minor: int | None = None
    """The minimum for the part of the period before that."""
    minimum_share: str | None = None
    """The share of a whole minimum owed since then, if days were added; None: a whole period's."""
    minimums_unbilled: list[dict[str, Any]] = Field(default_factory=list)
    """The minimum of each period that closed while `unpaid`, oldest first, until it is billed."""
    commitment: dict[str, Any] | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def unpaid_since(self) -> datetime | None:
        """The instant of `unpaid`, if noted: the previous release neither notes nor clears it."""
        return self.unpaid_at if self.status == "unpaid" else None

    @property
    def served_until(self) -> datetime | None:
        """The end of the time that counts as served, while `unpaid` and after it ended so."""
        # `unserved_since` is not cleared by that release either.
        return self.unserved_since if self.unpaid_since or self.ended_at else None

    @property
    def ends(self) -> bool:
        """True if an end is scheduled."""
        return self.cancel_at_period_end or self.cancel_at is not None

    @property
    def ends_at(self) -> datetime | None:
        """The instant of the scheduled end (usage_subscription_at.sql); None: no end is."""
        return self.current_period_end if self.cancel_at_period_end else self.cancel_at

    @property
    def ends_with_period(self) -> bool:
        """True if no period follows the current one."""
        at_a_date = self.cancel_at is not None and self.cancel_at <= self.current_period_end
        return self.cancel_at_period_end or at_a_date

    @property
    def committed(self) -> Commitment | None:
        """The commitment as a model."""
        return Commitment.model_validate(self.commitment) if self.commitment else None

    @property
    def unbilled_minimums(self) -> tuple[Minimum, ...]:
        """The unbilled minimums of earlier periods, as models."""
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
    """Units that an add-on or another plan adds or removes within a cycle."""

    add_on: str | None = None
    """None: the units are the plan's own."""
    meter: str
    units: Decimal
    """Correction of the whole quantity's units, not rounded: negative for an addition, positive for
    a removal."""
    decimals: int | None = None
    """For an add-on: decimals to which that sum is rounded. None: the portion is rounded itself."""
    restated: bool = False
    """True if its earlier lines are credited: only lines from this change on bill it."""
    gone: Decimal = ZERO
    """Units that it removes from the rest of the cycle. Not rounded."""
    gone_of: str = "0"
    """The share of its credited lines that goes with them; the rest is charged anew."""


class SubscriptionChange(Row):
    """A row of `subscription_changes`: the requested change, and the draft to be paid for it first.

    A scheduled change has no draft: the renewal bills it.
    """

    TABLE: ClassVar[str] = "subscription_changes"

    account_id: UUID
    subscription_id: UUID
    kind: ChangeKind
    wanted: dict[str, Any]
    terms: dict[str, Any] = Field(default_factory=dict)
    """For a change of plan or price, or of add-ons now: its `new_terms`."""
    invoice_id: UUID | None = None
    status: ChangeStatus
    reason: str | None = None
    expires_at: AwareDatetime | None = None
    effective_at: AwareDatetime | None = None
    """A scheduled change applies at the first period end at or after this instant."""
    created_at: AwareDatetime
    decided_at: AwareDatetime | None = None

    def is_scheduled(self, kind: ChangeKind) -> bool:
        """True if it is of this kind and comes with the end of the period."""
        return (self.kind, self.status) == (kind, "scheduled")

    @property
    def was_invoiced(self) -> bool:
        """True if it was applied with an invoice of its own."""
        return self.status == "applied" and self.invoice_id is not None

    @property
    def new_terms(self) -> "Terms":
        """The terms that it changes to; not of a change without any."""
        return Terms.model_validate(self.terms)

    @property
    def portions(self) -> tuple[Portion, ...]:
        """The units that the change adds or removes."""
        return tuple(map(Portion.model_validate, self.terms.get("portions", ())))

    @property
    def draft_id(self) -> UUID:
        """The draft to be paid before the change is applied."""
        if self.invoice_id is None:
            raise ValueError("a scheduled change has no draft of its own")
        return self.invoice_id


class PlanWish(Frozen):
    """A requested plan, interval, number of seats, add-ons and coupon; None: unchanged."""

    plan: str | None = None
    interval: Interval | None = None
    quantity: int | None = None
    when: When | None = None
    """None: an upgrade at once, a downgrade with the next period."""
    add_ons: dict[str, int] | None = None
    """The complete set of add-ons wanted, by key."""
    coupon: str | None = None
    though_closed: bool = False
    """Allow its own plan's current price, also off sale: an operator moves its subscribers."""


class Offered(Frozen):
    """A plan on sale with one of its prices in the subscription's currency; None: it has none."""

    plan: Plan
    price: Price | None


class Note(Frozen):
    """Unused time of an invoice, to be credited by a credit note on it."""

    invoice_id: UUID
    amount_minor: int
    lines: tuple[dict[str, Any], ...] = ()
    """The parts of its lines in that amount, as the credit note lists them."""


class Terms(Frozen):
    """The terms of a subscription after a change, and what the change credits."""

    plan_id: UUID
    price_id: UUID
    unit_minor: int
    """The price of one seat per interval."""
    interval: Interval
    quantity: int
    minimum_minor: int | None = None
    """The minimum charge of a period."""
    resets: bool = False
    """True if a new period begins with the change."""
    zone: str | None = None
    """That of the new period; None: the subscription's stays."""
    credits: Decimal = ZERO
    """Credits that the change adds; negative: takes off."""
    credits_replaced: Decimal = ZERO
    """Credits of the previous cycle that end with the change; its own grant has as many more."""
    credits_spent: Decimal = ZERO
    """Credits that the grant of a new cycle lacks because they were spent in the previous one."""
    credits_before: Decimal | None = None
    """The credits of the whole cycle under the previous terms; None: not recorded."""
    credits_missed: Decimal = ZERO
    """Credits to claw back that were not granted yet: the later grant is lower by this amount."""
    credits_refunded: dict[str, Decimal] = Field(default_factory=dict)
    """By grant, the credits that refunds and disputes took and that earlier changes do not name:
    this change sets those of the rest anew, so they lower it no more.
    """
    notes: tuple[Note, ...] = ()
    add_ons: dict[str, int] | None = None
    """The complete set of add-ons after it; None: those that the plan sells on the same terms."""
    fewer_now: bool = False
    """True if add-ons that are not wanted end at once, not with the period."""
    cycle_start: AwareDatetime | None = None
    """The start of the cycle in which the change applies, and of its portions."""
    row_start: AwareDatetime | None = None
    """The start of the first in the row of cycles that changes have cut up to that one."""
    gave_back_at: AwareDatetime | None = None
    """No use is dated before it in the cycle: allowance was credited, or a meter's limit lifted."""
    portions: tuple[Portion, ...] = ()
    units_gone: dict[str, Decimal] = Field(default_factory=dict)
    """By meter, the units that its add-ons remove from the cycle, rounded."""
    stay_beyond: dict[str, Decimal] = Field(default_factory=dict)
    """Units that stay billed though the new plan includes them: they were beyond the old one."""
    credited_since: AwareDatetime | None = None
    """The instant from which time is credited, if use until the change applies counts as used;
    None: such use does not count.
    """

    @property
    def amount_minor(self) -> int:
        """The price of all seats per interval."""
        return self.unit_minor * self.quantity


class RestReturned(Frozen):
    """Money paid but not used that the end of a subscription gave back."""

    credited_minor: int
    """The amount of credit notes, except what they took off amounts owed."""
    refunded_minor: int
    """The part of it that is refunded to the payer."""

    @property
    def balance_minor(self) -> int:
        """The rest: on the money balance, or already spent from it on amounts owed."""
        return self.credited_minor - self.refunded_minor


class Paying(Frozen):
    """The way to pay a change: the saved card, a named card, or one that the client confirms.

    `change_id` is the change's own id, so that a repeated request finds it.
    """

    change_id: UUID
    method_id: UUID | None = None
    by_card: bool = False
    use_balance: bool = True
    """Pay from the money balance first."""


class CrossedPeriod(Row):
    """A row of `usage_periods` whose use reached the billing threshold and is not billed yet."""

    TABLE: ClassVar[str] = "usage_periods"

    subscription_id: UUID | None = None
    start_at: AwareDatetime
    end_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    threshold_at: AwareDatetime | None = None
    threshold_number: int = 0
