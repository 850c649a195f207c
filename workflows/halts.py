"""The halt of a run: what failed, as the loop, Temporal and the register of matters know it."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from billing.matters.agenda import State
from workflows.contracts import HaltRequest, MatterRef
from workflows.failures import end_if_canceled, reason_of
from workflows.policies import HALT_NOTE_TIMEOUT
from workflows.showing import Shown


class Halt:
    """True while the run is halted. It begins and ends by noting so in the register, for doctor,
    lists and the audit; both return the matter's reference for later requests.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_resumed = False
        """True if an operator has asked to try again since the halt began."""

    def __bool__(self) -> bool:
        return self.reason is not None

    async def begin(self, ref: MatterRef, reason: str, shown: Shown) -> MatterRef:
        """Halt, and show it in Temporal."""
        self.reason, self.is_resumed = reason, False
        shown.halt(reason)
        return await _noted(ref, reason)

    async def end(self, ref: MatterRef, state: State | None) -> MatterRef:
        """Go on from the newest state; the next one that is read is shown in Temporal."""
        self.reason = None
        return await _noted(ref, None, rests=state is not None and bool(state.rests))


async def _noted(ref: MatterRef, reason: str | None, *, rests: bool = False) -> MatterRef:
    """Note that a matter is halted, or (without a reason) goes on; a lost note stops nothing."""
    ref = ref.model_copy(update={"halted": reason is not None})
    try:
        await workflow.execute_activity(
            "matter.halted",
            HaltRequest(ref=ref, reason=reason, rests=rests),
            start_to_close_timeout=HALT_NOTE_TIMEOUT,
            # A worker that dies during the call costs one try, not the note.
            schedule_to_close_timeout=3 * HALT_NOTE_TIMEOUT,
        )
    except ActivityError as error:
        end_if_canceled(error)
        workflow.logger.warning("could not note the halt: %s", reason_of(error))
    return ref
