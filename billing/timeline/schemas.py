"""The two halves of a timeline: what happened with its cause, what will happen with its cents.

Amounts are in ISO minor units of `currency`; instants are in the account's own time.
"""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.accounts.rules import AccountState
from billing.core.periods import Interval
from billing.dunning.rules import CollectionState, Policy
from billing.purchases.rules import PurchaseState
from billing.subscriptions.rules import SubscriptionState
from billing.trials.rules import TrialState

Source = Literal["step", "change", "payment", "credits"]
"""A step that ran, a change that was made, a card that was tried, credits that came or went."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Cause(_Frozen):
    """Why something happened."""

    words: str
    actor: str | None = None
    """Who asked, or the workflow that acted."""
    workflow_id: str | None = None
    due_at: AwareDatetime | None = None
    """When it was planned for; None when it was told, not planned."""
    stripe_event_id: str | None = None
    correlation_id: str | None = None


class Happened(_Frozen):
    """One thing of the past."""

    at: AwareDatetime
    """In the account's time."""
    real_at: AwareDatetime
    source: Source
    name: str
    subject: str
    words: str
    amount_minor: int | None = None
    currency: str | None = None
    credits: Decimal | None = None
    cause: Cause


class Coming(_Frozen):
    """One step to come."""

    at: AwareDatetime
    name: str
    """The step of the matter's agenda, such as `renew` or `charge`."""
    workflow_id: str
    words: str
    amount_minor: int | None = None
    """What is billed (renew) or collected (charge)."""
    currency: str | None = None
    credits: Decimal | None = None
    """Credits that arrive with it, or lapse."""
    only_if: str | None = None
    """What must be so for it to happen; None: it happens unless somebody acts."""
    key: str | None = None
    """The step's business key, where it is known already."""


class Owed(_Frozen):
    """An invoice that is being collected: what is left of it, and what its payment brings."""

    label: str
    """Its number, or "the first invoice"."""
    remaining_minor: int
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    cycle: tuple[datetime, datetime] | None = None


class Terms(_Frozen):
    """What a subscription was sold with, and how it is paid."""

    plan: str
    amount_minor: int
    currency: str
    zone: str
    anchor_wall: datetime
    interval: Interval
    period_number: int
    allowance: Interval
    monthly_credits: Decimal
    policy: Policy
    trial_end_behavior: str
    card: str | None
    """The default card that may be charged, in words."""
    money_balance_minor: int
    credits_at_start: bool
    """Credits of a cycle come when it starts instead of with its payment."""
    usage_minor: int = 0
    """Use beyond the plan so far, which the next invoice charges."""


class SubscriptionPicture(_Frozen):
    """All that the future of a subscription is computed from."""

    workflow_id: str
    state: SubscriptionState
    terms: Terms
    owed: dict[str, Owed]
    """By external id of the invoice."""


class CollectionPicture(_Frozen):
    """The same for an invoice that is pursued by itself."""

    workflow_id: str
    state: CollectionState
    zone: str
    currency: str
    card: str | None
    owed: dict[str, Owed]


class PurchasePicture(_Frozen):
    """A purchase, and what was bought."""

    workflow_id: str
    state: PurchaseState
    pack: str
    credits: Decimal
    amount_minor: int
    currency: str


class TrialPicture(_Frozen):
    """A trial, and the lot it ends."""

    workflow_id: str
    state: TrialState
    grant_key: str


class AccountPicture(_Frozen):
    """The account's own matter."""

    workflow_id: str
    state: AccountState


class Lapsing(_Frozen):
    """Credits with an end: a lot's free part, or a hold."""

    name: str
    credits: Decimal
    expires_at: AwareDatetime
    grant_key: str | None = None
    """None: a hold."""


class Outlook(_Frozen):
    """Everything an account's future is computed from, at one instant of its own time."""

    account_id: UUID
    now: AwareDatetime
    subscriptions: tuple[SubscriptionPicture, ...] = ()
    collections: tuple[CollectionPicture, ...] = ()
    purchases: tuple[PurchasePicture, ...] = ()
    trials: tuple[TrialPicture, ...] = ()
    account: AccountPicture | None = None
    lapsing: tuple[Lapsing, ...] = ()
