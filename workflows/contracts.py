"""Models that cross the Temporal boundary: small, frozen, append-only; new fields are optional.

Payloads carry ids, amounts and dates; personal data stays in Postgres.
"""

from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.matters.agenda import Lean, Step
from billing.matters.kinds import KINDS


class Contract(Lean):
    """Base of all messages: immutable, and readable one version both ways."""


class MatterRef(Contract):
    """Argument of every matter workflow: which matter, and the step it was born with."""

    workflow_id: str = ""
    """Empty in the argument of a run, which knows its own name. A run that was given it is one of
    0.1.0, and tries no step within its own task; a worker of that release takes no run without it.
    """
    account_id: UUID
    kind: str
    subject_id: UUID
    """The row id of what the matter is about."""
    head: Step | None = None
    correlation_id: str | None = None
    waits_for: Step | None = None
    """The step to come, of a matter whose rows need no look before it."""

    @property
    def subject(self) -> str:
        """Its subject's external id, the stem of its keys."""
        return KINDS[self.kind].subject(self.subject_id)


class StepRequest(Contract):
    """Do this step, if it is still the head of the matter's agenda and due."""

    ref: MatterRef
    step: Step
    tried: int = 0
    """Tries before this activity, within the workflow's own task."""


class Command(Contract):
    """An operator's command given in the Temporal UI; the same verbs as the admin API."""

    name: str
    reason: str = ""
    days: int = 0
    invoice: str | None = None


class DunningCommand(Contract):
    """About one unpaid invoice; `invoice` (inv_…) may be left out when only one is unpaid."""

    invoice: str | None = None
    reason: str = ""


class DunningExtension(DunningCommand):
    """Move the slots to come and the final action by `days`."""

    days: int


class CommandRequest(Contract):
    """A command with the matter it is for; `key` makes a redelivery harmless."""

    ref: MatterRef
    command: Command
    key: str


class Settled(Contract):
    """An answer to those who wait until nothing is due at the account's own now."""

    settled: bool
    """False: halted, or handed over to a new run; ask again."""
    halted: str | None = None


class Standing(Settled):
    """An answer to people: it says where a matter stands."""

    status: str = ""
    words: str = ""


class HaltRequest(Contract):
    """Tell the register that a matter is stuck, or goes on."""

    ref: MatterRef
    reason: str | None


class WalkRequest(Contract):
    """One move of an account's test clock towards its target."""

    account_id: UUID


class WalkMove(Contract):
    """The result of one move: the clock's new time, and whether more is left to walk."""

    clock_at: AwareDatetime
    done: bool
    blocked: str | None = None
    moved: str | None = None


class SweepRequest(Contract):
    """One pass of a schedule's job."""

    name: str
    limit: int = Field(default=500, ge=1)


class SweepReport(Contract):
    """The counts of one pass, by name."""

    counts: dict[str, int] = Field(default_factory=dict)
