"""An act of an operator, the subscriptions that it is for, and its outcome for each."""

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
"""The last two are about the subscription, the others about what is overdue of it."""
OF_SUBSCRIPTIONS: Final = ("pause", "extend")
STEERED_CASES: Final[dict[Act, tuple[str, ...]]] = {
    "pause_dunning": ("open",),
    "resume_dunning": ("paused",),
    "extend_dunning": ("open", "paused"),
}
"""The cases that an act is for; the others are for every invoice that came to have one, and for
those that wait for an operator.
"""


class Order(Frozen):
    """An act, the same for all."""

    act: Act
    reason: str
    days: int = 0
    """Of those that extend."""
    in_recovery: bool = False
    """None whose recovery has not begun: who chooses by the day it began means those alone."""
    suffix: str
    """The same for each repeat of the request."""


class Choice(Frozen):
    """The subscriptions to steer: all that is said of them holds."""

    subscription_ids: list[UUID] | None = None
    account_ids: list[UUID] | None = None
    plan: str | None = None
    price_minor: int | None = None
    currency: str | None = None
    status: State | None = None
    past_due_from: AwareDatetime | None = None
    """The recovery of an invoice began then or later."""
    past_due_until: AwareDatetime | None = None
    """It began before then."""


class Debt(Frozen):
    """An invoice that an act is for; one that is held has no case before its first try."""

    invoice_id: UUID
    case_id: UUID | None


class Overdue(Frozen):
    """An invoice in recovery or held, after the act."""

    invoice: Invoice
    case: DunningCase | None
    step: Step | None
    """The next step of its recovery."""
    amount_minor: int
    """The debt of it before."""
    attempt: str | None = None
    """The key of the try that was asked for."""


class Steered(Frozen):
    """A subscription after the act."""

    subscription: Subscription
    overdue: tuple[Overdue, ...] = ()
    effective_at: AwareDatetime | None = None
    """The end of its period, of acts about the subscription."""
    matters: tuple[Matter, ...] = ()
    """To be told after the commit."""
    is_repeated: bool = False
    """True if an earlier try of the same request did it."""
