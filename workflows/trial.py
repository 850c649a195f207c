"""A trial of credits: wait until its end, then expire the unspent credits."""

from temporalio import workflow

from billing.money.trials.rules import TrialState, agenda
from workflows.contracts import MatterRef
from workflows.matter import MatterWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Trial", versioning_behavior=FOLLOWS_RELEASES)
class TrialWorkflow(MatterWorkflow[TrialState]):
    """One workflow per account, `trial/{account}`; closes when the trial expired or converted."""

    kind = "trial"
    state_type = TrialState
    agenda = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()
