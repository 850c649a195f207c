"""Activities for the register of matters that belong to no single kind."""

from temporalio import activity

from activities.dependencies import Dependencies
from billing.core import clock
from billing.matters import store as matters
from billing.platform.audit import service as audit
from workflows.contracts import HaltRequest


class MatterNoteActivities:
    """The activity that records halts."""

    def __init__(self, dependencies: Dependencies) -> None:
        self.database = dependencies.database

    @activity.defn(name="matter.halted")
    async def halted(self, request: HaltRequest) -> None:
        async with self.database.tenant(request.ref.account_id) as connection:
            at = await clock.now(connection, request.ref.account_id)
            halted = request.reason is not None
            await matters.note_halt(connection, request.ref, at, halted=halted)
            await audit.record(
                connection,
                account_id=request.ref.account_id,
                action="matter.halted" if halted else "matter.resumed",
                subject=request.ref.workflow_id,
                at=at,
                reason=request.reason,
            )
