"""The keys of operators' commands, which make a repetition harmless."""

from uuid import uuid5

from temporalio import workflow

from workflows.contracts import Command, MatterRef


def key_of(ref: MatterRef, command: Command) -> str:
    """Return the same key when an update is resent, or replayed after a reset. An update id may
    repeat across verbs, or after the matter has ended and started again: the key has both.
    """
    update = workflow.current_update_info()
    if update is None:
        return str(workflow.uuid4())
    order = (workflow.info().first_execution_run_id, command.name, update.id)
    return str(uuid5(ref.subject_id, "/".join(order)))
