"""The step of a trial: its end."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.matter import MatterActivities
from billing.core.agenda import Step
from billing.trials import rules, service, store
from billing.trials.rules import TrialState
from workflows.contracts import CommandRequest, MatterRef, StepRequest
from workflows.stubs import Trials


class TrialActivities(MatterActivities[TrialState], Trials):
    """Implements workflows.stubs.Trials."""

    async def state(self, connection: AsyncConnection, ref: MatterRef, *, lock: bool) -> TrialState:
        return await store.state(connection, ref.subject_id, lock=lock)

    def agenda(self, state: TrialState) -> list[Step]:
        return rules.agenda(state)

    @activity.defn(name="trial.load")
    async def load(self, ref: MatterRef) -> TrialState:
        return await self.look(ref)

    @activity.defn(name="trial.perform")
    async def perform(self, request: CommandRequest) -> TrialState:
        return await self.obey(request)

    @activity.defn(name="trial.expire")
    async def expire(self, request: StepRequest) -> TrialState:
        async def end(connection: AsyncConnection, _: TrialState, at: datetime) -> str:
            return (await service.expire(connection, request.ref.subject_id, at)).status

        return await self.once(request, end)
