"""Updates that operators send from the Temporal UI to a matter that collects invoices.

They have the verbs of the admin API (docs/rules/dunning.md); each runs once, between steps.
"""

from abc import abstractmethod
from typing import TypeVar

from temporalio import workflow

from billing.matters.agenda import State
from billing.money.collecting.rules import Collecting
from billing.money.dunning.rules import MAX_EXTENSION_DAYS
from workflows.contracts import Command, DunningCommand, DunningExtension, MatterStatus
from workflows.matter import MatterWorkflow

S = TypeVar("S", bound=State)


class CollectingWorkflow(MatterWorkflow[S]):
    """A matter with unpaid invoices: a subscription, or a collection."""

    @abstractmethod
    def collected(self) -> tuple[Collecting, ...]:
        """Return the invoices that the matter collects, from the newest state."""

    @workflow.update(description="No slots and no final action until resumed")
    async def pause_dunning(self, command: DunningCommand) -> MatterStatus:
        """Pause the case; refused without an open case."""
        return await self._carry_out("pause_dunning", command)

    @pause_dunning.validator
    def _may_pause(self, command: DunningCommand) -> None:
        self._need_case(command)

    @workflow.update(description="Slots go on where they stood")
    async def resume_dunning(self, command: DunningCommand) -> MatterStatus:
        """Resume the case; refused without an open case."""
        return await self._carry_out("resume_dunning", command)

    @resume_dunning.validator
    def _may_resume(self, command: DunningCommand) -> None:
        self._need_case(command)

    @workflow.update(description="Move the slots to come and the final action by some days")
    async def extend_dunning(self, command: DunningExtension) -> MatterStatus:
        """Extend the case; refused without an open case, and beyond 90 days in total."""
        return await self._carry_out("extend_dunning", command, command.days)

    @extend_dunning.validator
    def _may_extend(self, command: DunningExtension) -> None:
        self._need_case(command)
        if not 0 < command.days <= MAX_EXTENSION_DAYS:
            raise ValueError(f"a case can be extended by 1 to {MAX_EXTENSION_DAYS} days")

    @workflow.update(description="Try the default card at once, beside the slots")
    async def retry_now(self, command: DunningCommand) -> MatterStatus:
        """Try the card now; refused while another try is pending, and without a card."""
        return await self._carry_out("retry_now", command)

    @retry_now.validator
    def _may_retry(self, command: DunningCommand) -> None:
        self._need_unpaid(command)

    @workflow.update(description="Give up what is owed, by a credit note; needs a reason")
    async def forgive(self, command: DunningCommand) -> MatterStatus:
        """Forgive the debt; the subscription is active again if nothing else is overdue."""
        return await self._carry_out("forgive", command)

    @forgive.validator
    def _may_forgive(self, command: DunningCommand) -> None:
        self._need_unpaid(command)
        if not command.reason.strip():
            raise ValueError("give the reason for forgiving it in `reason`")

    async def _carry_out(self, name: str, command: DunningCommand, days: int = 0) -> MatterStatus:
        return await self.run_in_turn(
            Command(name=name, reason=command.reason, days=days, invoice=command.invoice)
        )

    def _need_case(self, command: DunningCommand) -> None:
        found = self._need_unpaid(command)
        if found is not None and found.case is None:
            raise ValueError(f"{found.invoice} has no open dunning case")

    def _need_unpaid(self, command: DunningCommand) -> Collecting | None:
        """Return the invoice that the command names; None before the first read of the rows."""
        if self.state is None:
            return None
        owed = [one for one in self.collected() if not one.closed and not one.pay_first]
        if not owed:
            raise ValueError("no invoice is unpaid")
        named = [one for one in owed if command.invoice in (None, one.invoice)]
        if len(named) != 1:
            names = ", ".join(one.invoice for one in owed)
            raise ValueError(f"name one unpaid invoice in `invoice`: {names}")
        return named[0]
