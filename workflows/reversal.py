"""A reversal: refunds and disputes of one payment."""

from temporalio import workflow

from billing.money.reversals.rules import ReversalState, agenda
from workflows.contracts import MatterRef
from workflows.matter import MatterWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Reversal", versioning_behavior=FOLLOWS_RELEASES)
class ReversalWorkflow(MatterWorkflow[ReversalState]):
    """One workflow per payment, `reversal/{payment}`; closes when no refund is pending.

    Steps: make each `refund`; `check` what the provider reports; `book` what was refunded before
    the payment itself was booked; `remind` operators of a dispute's deadline.
    """

    kind = "reversal"
    state_type = ReversalState
    agenda = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()
