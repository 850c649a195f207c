"""The two halves of a timeline: past entries with causes, future entries with amounts.

Amounts are in ISO minor units of `currency`; instants are in the account's own time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.core.money import ZERO
from billing.matters.effects import Facts, Rows
from billing.money.account_agenda.rules import AccountState
from billing.money.collecting.collection import CollectionFacts
from billing.money.purchases.rules import PurchaseState
from billing.money.reversals.rules import ReversalState
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.trials.rules import TrialState

F = TypeVar("F", bound=Facts)
Source = Literal["step", "change", "payment", "credits"]
"""A step that ran, a change, a card that was tried, or credits that were granted or expired."""


class Cause(Frozen):
    """The cause of a past entry."""

    words: str
    actor: str | None = None
    """The caller who asked, or the workflow that acted."""
    workflow_id: str | None = None
    due_at: AwareDatetime | None = None
    """The planned instant; None if the entry was not planned for a time."""
    stripe_event_id: str | None = None
    correlation_id: str | None = None


class Happened(Frozen):
    """One past entry of the timeline."""

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


class ComingEntry(Frozen):
    """One future entry of the timeline: a step to come."""

    at: AwareDatetime
    name: str
    """The step of the matter's agenda, such as `renew` or `charge`."""
    workflow_id: str
    words: str
    amount_minor: int | None = None
    """The amount billed (renew) or collected (charge)."""
    currency: str | None = None
    credits: Decimal | None = None
    """Credits that are granted or expire."""
    only_if: str | None = None
    """The condition of the entry; None: it happens unless somebody acts."""
    key: str | None = None
    """The step's business key, if it is known already."""


@dataclass(frozen=True, slots=True)
class DecidingSnapshot(Generic[F]):
    """The rows and facts of a matter that collects invoices."""

    workflow_id: str
    rows: Rows
    facts: F
    written: frozenset[UUID] | None = None
    """The rows that exist; None: all of them."""


class PurchaseSnapshot(Frozen):
    """A purchase, and what was bought."""

    workflow_id: str
    state: PurchaseState
    pack: str
    credits: Decimal
    amount_minor: int
    currency: str


class TrialSnapshot(Frozen):
    """A trial, and the grant key of its lot."""

    workflow_id: str
    state: TrialState
    grant_key: str


class ReversalSnapshot(Frozen):
    """The pending refunds of a payment, and its dispute."""

    workflow_id: str
    state: ReversalState
    currency: str
    refunds: Mapping[str, int]
    """The amount of each pending refund, by key."""
    dispute_minor: int | None = None
    """The amount of the dispute whose evidence is due."""
    dispute_currency: str | None = None
    """The dispute's currency, which may differ from the payment's."""


class AccountSnapshot(Frozen):
    """The account's own matter."""

    workflow_id: str
    state: AccountState


class Expiring(Frozen):
    """Credits that expire with their lot, or with the hold that outlives it."""

    name: str
    credits: Decimal
    expires_at: AwareDatetime
    grant_key: str | None = None
    """None: a hold."""
    kept_from: AwareDatetime | None = None
    """The end of the cycle that the credits outlive; None: they do not roll over."""
    cycle_end: AwareDatetime | None = None
    """The end of the cycle that brought the credits, if they may roll over."""
    cap: Decimal = ZERO
    """The maximum of one cycle's credits that roll over, by the plan that granted them."""
    is_freed: bool = False
    """True for a hold's credits whose lot outlives it: they are free again."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The input of an account's projection, at one instant of its own time."""

    account_id: UUID
    now: datetime
    subscriptions: tuple[DecidingSnapshot[SubscriptionFacts], ...] = ()
    collections: tuple[DecidingSnapshot[CollectionFacts], ...] = ()
    purchases: tuple[PurchaseSnapshot, ...] = ()
    trials: tuple[TrialSnapshot, ...] = ()
    reversals: tuple[ReversalSnapshot, ...] = ()
    account: AccountSnapshot | None = None
    expiring: tuple[Expiring, ...] = ()
    granted: frozenset[str] = frozenset()
    """The grant keys of plan credits that have not expired."""
