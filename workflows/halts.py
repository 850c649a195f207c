"""The note in the register that a matter is halted, for doctor, lists and the audit."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows.failures import end_if_canceled, reason_of

with workflow.unsafe.imports_passed_through():
    from workflows.contracts import HaltRequest, MatterRef
    from workflows.policies import HALT_NOTE_TIMEOUT


async def note_halt(ref: MatterRef, reason: str | None) -> None:
    """Note that a matter is halted, or (without a reason) goes on; a lost note stops nothing."""
    try:
        await workflow.execute_activity(
            "matter.halted",
            HaltRequest(ref=ref, reason=reason),
            start_to_close_timeout=HALT_NOTE_TIMEOUT,
            # A worker that dies during the call costs one try, not the note.
            schedule_to_close_timeout=3 * HALT_NOTE_TIMEOUT,
        )
    except ActivityError as error:
        end_if_canceled(error)
        workflow.logger.warning("could not note the halt: %s", reason_of(error))
