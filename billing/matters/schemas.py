"""A matter as all layers see it, pure: its workflow, its account and the head of its agenda."""

from datetime import timedelta
from typing import Final, Literal, Protocol
from uuid import UUID

from billing.core.frozen import Frozen
from billing.matters.agenda import Step
from billing.matters.kinds import ACCOUNT

Status = Literal["open", "resting", "halted", "closed"]
LOOK: Final = "load"
"""The step of a matter that must look at its rows first; histories have this name."""


class Named(Protocol):
    """Whatever names a matter."""

    @property
    def workflow_id(self) -> str:
        """The matter's name in Temporal and in the register."""

    @property
    def kind(self) -> str:
        """The name of its kind."""

    @property
    def account_id(self) -> UUID:
        """The account it belongs to."""

    @property
    def subject_id(self) -> UUID:
        """The row it is about."""


class Matter(Frozen):
    """A matter as started or found: which workflow, for whom, and the head of its agenda."""

    workflow_id: str
    account_id: UUID
    kind: str
    subject_id: UUID
    status: Status = "open"
    words: str = ""
    revision: int = 0
    head: Step | None = None
    correlation_id: str | None = None
    born_as: str | None = None
    """Status at its birth, if its kind is not always born with the same status."""
    plan: str | None = None
    """Plan at its birth."""


class Planned(Frozen):
    """The state of a matter that does nothing for a while, read from its rows."""

    status: str
    """For the search attribute BillingStatus: one word."""
    plan: str | None = None
    asleep_for: timedelta
    """Time until its next step, from when the rows were read."""


def of_account(account_id: UUID) -> Matter:
    """Return the account's own matter by name only, to notify it that its rows changed."""
    return Matter(
        workflow_id=ACCOUNT.workflow_id(account_id),
        account_id=account_id,
        kind=ACCOUNT.name,
        subject_id=account_id,
    )
