"""A use that is paid by card at once."""

from temporalio import workflow

from billing.money.card_usage.rules import ChargeState, agenda
from workflows.contracts import MatterRef
from workflows.matter import MatterWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="ChargeUsage", versioning_behavior=FOLLOWS_RELEASES)
class ChargeUsageWorkflow(MatterWorkflow[ChargeState]):
    """One workflow per billing record, `charge/{billing_id}`; closes when paid or failed."""

    kind = "charge"
    state_type = ChargeState
    agenda = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()
