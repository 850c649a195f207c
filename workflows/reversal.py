"""A reversal: the money of one payment that goes back to its payer."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from billing.money.reversals.rules import ReversalState, agenda
    from workflows.contracts import MatterRef
    from workflows.matter import MatterWorkflow
    from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Reversal", versioning_behavior=FOLLOWS_RELEASES)
class ReversalWorkflow(MatterWorkflow[ReversalState]):
    """One per payment, `reversal/{payment}`; closes when no refund is on its way.

    It makes each `refund`, `check`s what the provider tells of, `book`s what went back before the
    payment itself was booked, and `remind`s operators of a dispute's deadline.
    """

    kind = "reversal"
    state_type = ReversalState
    plan = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Live until the agenda is empty."""
        await self.run_until_done()
