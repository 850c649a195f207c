"""A subscription: trial, periods, renewals, and the recovery of what was not paid."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from billing.money.dunning.rules import Collecting
    from billing.money.subscriptions.rules import SubscriptionState, agenda
    from workflows.contracts import MatterRef
    from workflows.dunning_updates import CollectingWorkflow
    from workflows.policies import LIVES_FOR_YEARS


@workflow.defn(name="Subscription", versioning_behavior=LIVES_FOR_YEARS)
class SubscriptionWorkflow(CollectingWorkflow[SubscriptionState]):
    """One per subscription, `subscription/{id}`; closes when it ended and nothing is owed here."""

    kind = "subscription"
    state_type = SubscriptionState
    plan = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Live until the agenda is empty."""
        await self.run_until_done()

    def collected(self) -> tuple[Collecting, ...]:
        return self.state.invoices if self.state is not None else ()
