"""A subscription: trial, periods, renewals, and the recovery of what was not paid."""

from temporalio import workflow

from billing.money.collecting.rules import Collecting
from billing.money.subscriptions.rules import SubscriptionState, agenda
from workflows.contracts import MatterRef
from workflows.dunning_updates import CollectingWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Subscription", versioning_behavior=FOLLOWS_RELEASES)
class SubscriptionWorkflow(CollectingWorkflow[SubscriptionState]):
    """One workflow per subscription, `subscription/{id}`; closes when ended and nothing is owed.

    | when this happens | the workflow |
    |---|---|
    | the end of its period | `renew`s, or `end`s or `pause`s if that was asked |
    | the end of its trial | `end_trial`: the first period, a pause, or the end |
    | the end of an allowance cycle within the period | begins the next `cycle` |
    | use beyond the plan that reached its threshold | `bill_early` |
    | the end of a commitment while it is paused | `close_commitment` |
    | its trial ends in 7 and in 3 days | `tell_trial_ending`s its customer |
    | it renews a year in 30 and in 7 days | `tell_renewal`s its customer |
    | a card that ends before its charge, 30 days ahead | `tell_expiring`s its owner |
    | the end of the days that it may stay unpaid | `end_unpaid`s |
    | a first payment that never comes | `abandon`s it |
    | the payment of a change that never comes | `end_change`s |
    | an unpaid invoice: day 0, 3, 7 of its case | `charge`s a card, `open`s one for its payer |
    | a payment without a result event | `check`s with the provider, `settle`s, `retire`s |
    | a manual payment that nobody decides | `end_approval`s |
    | the last slot without money | `give_up`: unpaid, canceled or uncollectible |
    """

    kind = "subscription"
    state_type = SubscriptionState
    agenda = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()

    def collected(self) -> tuple[Collecting, ...]:
        return self.state.invoices if self.state is not None else ()
