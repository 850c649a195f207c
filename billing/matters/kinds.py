"""Every kind of matter, one record each; CONTRIBUTING.md lists where else a new one is named."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from billing.core import ids

INTERACTIVE: Final = "interactive"
"""The task queue of workflows that a person waits for."""
BACKGROUND: Final = "background"
"""The task queue of workflows that time or a machine started."""
QUEUES: Final = (INTERACTIVE, BACKGROUND)


@dataclass(frozen=True, slots=True)
class MatterKind:
    """The properties that all matters of a kind share."""

    name: str
    prefix: str
    """The type prefix of its subject's id."""
    rank: int
    """The order of matters due at the same instant in one account's walk."""
    workflow: str
    queue: str
    born_as: str | None = None
    """The usual status when a workflow of the kind starts, for the search attribute."""
    rests_beyond: timedelta | None = None
    """Its workflow runs only while something is due this soon; the sweeper starts it in time."""
    born_anew: bool = False
    """A birth may find the matter already there; it is then woken."""
    handles_events: bool = True
    """The provider's events may concern it: it has a step that handles them."""
    sleeps: bool = False
    """Rebuilt far ahead of its next step, it sleeps until then; a bare signal does not wake it."""
    independent_steps: bool = False
    """None of its steps waits for another: while one fails, the others are done."""
    collects: bool = False
    """It collects invoices, so it may have one paid."""

    def subject(self, subject_id: UUID) -> str:
        """The subject's external id: `sub_01…`."""
        return ids.encode(self.prefix, subject_id)

    def workflow_id(self, subject_id: UUID) -> str:
        """`subscription/sub_01…`: one workflow per matter, named by its subject."""
        return f"{self.name}/{self.subject(subject_id)}"

    def rests(self, due: datetime, now: datetime) -> bool:
        """True if a matter of this kind needs no workflow for now."""
        return self.rests_beyond is not None and due - now > self.rests_beyond

    def verdict(self, due: datetime | None, now: datetime) -> bool | None:
        """Return `State.rests` of a matter whose head is due then; without one it is over."""
        return None if self.rests_beyond is None else due is not None and self.rests(due, now)


TRIAL: Final = MatterKind(
    "trial", ids.ACCOUNT, 0, "Trial", INTERACTIVE, "active", handles_events=False, sleeps=True
)
SUBSCRIPTION: Final = MatterKind(
    "subscription", ids.SUBSCRIPTION, 1, "Subscription", BACKGROUND, sleeps=True, collects=True
)
COLLECTION: Final = MatterKind(
    "collection", ids.INVOICE, 2, "Collection", BACKGROUND, "collecting", collects=True
)
PURCHASE: Final = MatterKind(
    "purchase", ids.PURCHASE, 3, "Purchase", INTERACTIVE, "pending", collects=True
)
CHARGE: Final = MatterKind(
    "charge", ids.BILLING_RECORD, 4, "ChargeUsage", INTERACTIVE, "pending", collects=True
)
REST: Final = timedelta(days=1)
"""A step that is due later than this needs no workflow: Postgres keeps it."""
ACCOUNT: Final = MatterKind(
    "account", ids.ACCOUNT, 5, "Account", INTERACTIVE, "active",
    rests_beyond=REST, independent_steps=True,
)  # fmt: skip

REVERSAL: Final = MatterKind(
    "reversal", ids.PAYMENT, 6, "Reversal", BACKGROUND, "open", rests_beyond=REST, born_anew=True
)
"""The money of one payment that goes back: its refunds and its disputes."""
RECOVERING: Final = (SUBSCRIPTION, COLLECTION)
"""Kinds that try a newly chosen card at once if they have an open dunning case."""

KINDS: Final = {
    kind.name: kind
    for kind in (TRIAL, SUBSCRIPTION, COLLECTION, PURCHASE, CHARGE, ACCOUNT, REVERSAL)
}
COLLECTING: Final = frozenset(kind.name for kind in KINDS.values() if kind.collects)
"""The names of the kinds that collect invoices."""
