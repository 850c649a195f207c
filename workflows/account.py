"""An account itself: credits expire on time, cards are saved and removed."""

from temporalio import workflow

from billing.money.account_agenda.rules import AccountState, agenda
from workflows.answering import answer_in_time
from workflows.contracts import MatterRef, Settled
from workflows.matter import MatterWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Account", versioning_behavior=FOLLOWS_RELEASES)
class AccountWorkflow(MatterWorkflow[AccountState]):
    """One workflow per account, `account/{id}`; closes when idle, and starts again on demand."""

    kind = "account"
    state_type = AccountState
    agenda = staticmethod(agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()

    @workflow.update(description="Look again, and answer when nothing of these keys is due")
    async def settled_about(self, stem: str) -> Settled:
        """Return once no step whose key begins with `stem` is due, though others may fail; or once
        such a step failed while the matter is halted, the run ends, or a step fails for longer
        than callers wait.
        """
        self._requests += 1
        ticket = self._requests

        def is_done() -> bool:
            rest_done = self._rest_done_for >= ticket and not self._failed.has_any(stem)
            return rest_done or self._quiet_for >= ticket

        def is_over() -> bool:
            # Its look or its own step fails, if it is halted.
            tried = self._rest_done_for >= ticket or not self._failed
            return self._draining or (bool(self._halt) and tried)

        await answer_in_time(lambda: is_done() or is_over(), self._is_delayed)
        return Settled(settled=is_done(), halted=None if is_done() else self._halt.reason)
