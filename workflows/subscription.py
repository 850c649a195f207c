"""A subscription: trial, periods, renewals, and the recovery of what was not paid."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from billing.subscriptions.rules import SubscriptionState, agenda
    from workflows.contracts import MatterRef
    from workflows.matter import MatterWorkflow
    from workflows.policies import LIVES_FOR_YEARS


@workflow.defn(name="Subscription", versioning_behavior=LIVES_FOR_YEARS)
class SubscriptionWorkflow(MatterWorkflow[SubscriptionState]):
    """One per subscription, `subscription/{id}`; closes when it ended and nothing is owed here."""

    kind = "subscription"
    state_type = SubscriptionState
    plan = staticmethod(agenda)

    @workflow.init
    def __init__(self, ref: MatterRef) -> None:
        super().__init__(ref)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Live until the agenda is empty."""
        await self.live()
