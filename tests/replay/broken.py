"""A purchase workflow that somebody changed without a patch: replays must refuse it."""

from datetime import timedelta

from temporalio import workflow

from billing.money.purchases.rules import PurchaseState, agenda
from workflows.contracts import MatterRef
from workflows.matter import MatterWorkflow


@workflow.defn(name="Purchase")
class HastyPurchaseWorkflow(MatterWorkflow[PurchaseState]):
    """Like the real one, with a rest before the first step."""

    kind = "purchase"
    state_type = PurchaseState
    agenda = staticmethod(agenda)

    @workflow.init
    def __init__(self, ref: MatterRef) -> None:
        super().__init__(ref)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Sleep first: a command that no history knows."""
        await workflow.sleep(timedelta(seconds=1))
        await self.run_until_done()
