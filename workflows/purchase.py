"""A purchase: wait for the payment, ask Stripe when nobody tells, grant once, or let it expire."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from billing.money.purchases.rules import PurchaseState, agenda
    from workflows.contracts import MatterRef
    from workflows.matter import MatterWorkflow
    from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Purchase", versioning_behavior=FOLLOWS_RELEASES)
class PurchaseWorkflow(MatterWorkflow[PurchaseState]):
    """One per purchase, `purchase/{id}`; closes when nothing can change it any more.

    It `open`s the payment, `check`s it when the provider or nobody tells, `fulfil`s it once with
    credits, `remind`s of one that waits for its approval, and lets it `expire`, asking first.
    """

    kind = "purchase"
    state_type = PurchaseState
    plan = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Live until the agenda is empty."""
        await self.run_until_done()
