"""Models that cross the Temporal boundary: small, frozen, append-only; new fields are optional.

Payloads carry ids, amounts and dates; personal data stays in Postgres.
"""

import contextlib
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.matters.agenda import Lean, Step
from billing.matters.kinds import KINDS
from billing.platform.provider_inbox.rules import WaitingEvent, event_step


class TemporalMessage(Lean):
    """Base of all messages: immutable, and readable by the release before and after."""


class MatterRef(TemporalMessage):
    """Argument of every matter workflow: the matter, and the step it starts with."""

    workflow_id: str = ""
    """Empty in the argument of a run, which knows its own id. A run whose argument has it is of
    0.1.0 and uses no local activities; a worker of 0.1.0 accepts no run without it.
    """
    account_id: UUID
    kind: str
    subject_id: UUID
    """The row id of the matter's subject."""
    head: Step | None = None
    correlation_id: str | None = None
    waits_for: Step | None = None
    """The next step of a matter whose rows need no read before it."""
    halted: bool = False
    """A round of tries of one of its steps has failed, while it does others."""

    @property
    def subject(self) -> str:
        """Return the subject's external id, the stem of the matter's keys."""
        return KINDS[self.kind].subject(self.subject_id)


class StepRequest(TemporalMessage):
    """A step to do if it is still the head of the matter's agenda and due."""

    ref: MatterRef
    step: Step
    tried: int = 0
    """Tries of this step before this activity, in the same run."""


class Command(TemporalMessage):
    """An operator's command from the Temporal UI, with the verbs of the admin API."""

    name: str
    reason: str = ""
    days: int = 0
    invoice: str | None = None


class DunningCommand(TemporalMessage):
    """A command on one unpaid invoice; `invoice` (inv_…) is optional if only one is unpaid."""

    invoice: str | None = None
    reason: str = ""


class DunningExtension(DunningCommand):
    """A command that moves the remaining slots and the final action by `days`."""

    days: int


class CommandRequest(TemporalMessage):
    """A command and its matter; `key` makes a redelivery harmless."""

    ref: MatterRef
    command: Command
    key: str


class Settled(TemporalMessage):
    """The answer to a caller who waits until nothing is due at the account's now."""

    settled: bool
    """False: the matter is halted, or a new run took over; ask again."""
    halted: str | None = None


class MatterStatus(Settled):
    """The state of a matter, for people."""

    status: str = ""
    words: str = ""
    is_queued: bool = False
    """True: the command that is answered waits for a failing step, and is carried out after its
    tries.
    """


class HaltRequest(TemporalMessage):
    """A note for the register that a matter is halted, or (without a reason) goes on."""

    ref: MatterRef
    reason: str | None
    rests: bool = False
    """It goes on and rests, by the verdict of the register that its run knows."""


class WalkRequest(TemporalMessage):
    """A request to move an account's test clock towards its target."""

    account_id: UUID


class WalkMove(TemporalMessage):
    """The result of one move: the clock's new time, and whether the walk is done."""

    clock_at: AwareDatetime
    done: bool
    blocked: str | None = None
    moved: str | None = None


class ReconcileRequest(TemporalMessage):
    """A request to continue a comparison with the provider, by the id of its row."""

    run_id: UUID


class ReconcileMove(TemporalMessage):
    """The progress of a comparison: objects compared, and discrepancies found."""

    done: bool
    checked: int = 0
    discrepancies: int = 0


class JobRequest(TemporalMessage):
    """A request for one pass of a scheduled job."""

    name: str
    limit: int = Field(default=500, ge=1)


class JobReport(TemporalMessage):
    """The counts of one pass, by name."""

    counts: dict[str, int] = Field(default_factory=dict)


def step_of(event: tuple[Any, ...], subject: str) -> Step | None:
    """Return the step that a signal names; None if it names none or is unreadable.

    Senders of 0.1.0 name the step itself, later ones the event to check.
    """
    if len(event) != 1:
        return None
    with contextlib.suppress(ValueError):
        return event_step(subject, WaitingEvent.model_validate(event[0]))
    with contextlib.suppress(ValueError):
        return Step.model_validate(event[0])
    return None
