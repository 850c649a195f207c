"""Activities for the register of matters that belong to no single kind."""

from temporalio import activity

from activities.dependencies import Dependencies
from billing.core import clock
from billing.matters import store as matters
from billing.platform.audit import service as audit
from billing.platform.audit import store as audit_store
from workflows.contracts import HaltRequest


class MatterNoteActivities:
    """The activity that records halts."""

    def __init__(self, dependencies: Dependencies) -> None:
        self.database = dependencies.database

    @activity.defn(name="matter.halted")
    async def halted(self, request: HaltRequest) -> None:
        """Note a halt or its end once: a try whose answer is lost, or that waits for the row's lock
        while the next one is done, has committed or changes nothing.
        """
        account_id, name = request.ref.account_id, request.ref.workflow_id
        halted = request.reason is not None
        action = "matter.halted" if halted else "matter.resumed"
        note = f"{activity.info().workflow_run_id}/{activity.info().activity_id}"
        async with self.database.tenant(account_id) as connection:
            at = await clock.now(connection, account_id)
            await matters.take(connection, [name])
            if await audit_store.has(connection, account_id, name, action, note):
                return
            await matters.note_halt(connection, request.ref, halted=halted, rests=request.rests)
            await audit.record(
                connection, account_id=account_id, action=action, subject=name, at=at,
                reason=request.reason, request=note,
            )  # fmt: skip
