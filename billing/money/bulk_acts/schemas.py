"""Models of an operator's act on many subscriptions, and its outcome for each."""

from typing import Final, Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.matters.agenda import Step
from billing.matters.schemas import Matter
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.states import State

Act = Literal[
    "pause_dunning", "resume_dunning", "extend_dunning", "retry", "forgive", "pause", "extend"
]
"""The last two change the subscription, the others its overdue invoices."""
OF_SUBSCRIPTIONS: Final = ("pause", "extend")
STEERED_CASES: Final[dict[Act, tuple[str, ...]]] = {
    "pause_dunning": ("open",),
    "resume_dunning": ("paused",),
    "extend_dunning": ("open", "paused"),
}
"""The case states that an act applies to; other acts apply to every invoice that has or had a case,
and to those held for an operator.
"""


class BulkAct(Frozen):
    """An act, the same for all subscriptions."""

    act: Act
    reason: str
    days: int = 0
    """For the acts that extend."""
    in_recovery: bool = False
    """Only invoices with a case: a choice by the day their recovery began means those only."""
    suffix: str
    """Equal for each repeat of the request."""
    is_dry_run: bool = False
    """Its caller rolls it back: it takes no number, for whose series everyone else would wait."""


class Choice(Frozen):
    """The subscriptions to act on: those that meet all conditions."""

    subscription_ids: list[UUID] | None = None
    account_ids: list[UUID] | None = None
    plan: str | None = None
    price_minor: int | None = None
    currency: str | None = None
    status: State | None = None
    past_due_from: AwareDatetime | None = None
    """The recovery of an invoice began at or after this instant."""
    past_due_until: AwareDatetime | None = None
    """The recovery began before this instant."""


class Overdue(Frozen):
    """An invoice in recovery or held, after the act."""

    invoice: Invoice
    case: DunningCase | None
    step: Step | None
    """The next step of its recovery."""
    amount_minor: int
    """The amount owed before the act."""
    attempt: str | None = None
    """The key of the requested try."""


class BulkOutcome(Frozen):
    """A subscription after the act."""

    subscription: Subscription
    overdue: tuple[Overdue, ...] = ()
    effective_at: AwareDatetime | None = None
    """The end of its period, for acts on the subscription."""
    matters: tuple[Matter, ...] = ()
    """Matters to notify after the commit."""
    is_repeated: bool = False
    """True if an earlier try of the same request has done it."""
