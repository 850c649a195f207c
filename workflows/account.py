"""An account itself: credits expire on time, cards are saved and removed."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from billing.money.account_agenda.rules import AccountState, agenda
    from workflows.contracts import MatterRef
    from workflows.matter import MatterWorkflow
    from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Account", versioning_behavior=FOLLOWS_RELEASES)
class AccountWorkflow(MatterWorkflow[AccountState]):
    """One workflow per account, `account/{id}`; closes when idle, and starts again on demand."""

    kind = "account"
    state_type = AccountState
    plan = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()
