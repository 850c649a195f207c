"""A purchase: wait for the payment, query Stripe if no event comes, grant once, or expire."""

from temporalio import workflow

from billing.money.purchases.rules import PurchaseState, agenda
from workflows.contracts import MatterRef
from workflows.matter import MatterWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Purchase", versioning_behavior=FOLLOWS_RELEASES)
class PurchaseWorkflow(MatterWorkflow[PurchaseState]):
    """One workflow per purchase, `purchase/{id}`; closes when nothing can change it any more.

    Steps: `open` the payment; `check` it after an event, or if none comes; `fulfil` it once with
    credits; `remind` of one that waits for approval; `expire` it after a last check, or `cancel` it
    for its buyer.
    """

    kind = "purchase"
    state_type = PurchaseState
    agenda = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()
