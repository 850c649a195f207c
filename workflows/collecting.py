"""Orders that operators give from the Temporal UI to a matter that collects invoices.

The same verbs as the admin API (product.md section 11); each is carried out once, between steps.
"""

from abc import abstractmethod
from typing import TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from billing.core.agenda import State
    from billing.dunning.rules import MAX_EXTENSION_DAYS, Collecting
    from workflows.contracts import Command, DunningExtension, DunningOrder, Standing
    from workflows.matter import MatterWorkflow

S = TypeVar("S", bound=State)


class CollectingWorkflow(MatterWorkflow[S]):
    """A matter with unpaid invoices: a subscription, or a collection."""

    @abstractmethod
    def collected(self) -> tuple[Collecting, ...]:
        """The invoices it collects, as the newest state knows them."""

    @workflow.update(description="No slots and no final action until resumed")
    async def pause_dunning(self, order: DunningOrder) -> Standing:
        """Refused without an open case."""
        return await self._carry_out("pause_dunning", order)

    @pause_dunning.validator
    def _may_pause(self, order: DunningOrder) -> None:
        self._need_case(order)

    @workflow.update(description="Slots go on where they stood")
    async def resume_dunning(self, order: DunningOrder) -> Standing:
        """Refused without an open case."""
        return await self._carry_out("resume_dunning", order)

    @resume_dunning.validator
    def _may_resume(self, order: DunningOrder) -> None:
        self._need_case(order)

    @workflow.update(description="Move the slots to come and the final action by some days")
    async def extend_dunning(self, order: DunningExtension) -> Standing:
        """Refused without an open case, and beyond 90 days in all."""
        return await self._carry_out("extend_dunning", order, order.days)

    @extend_dunning.validator
    def _may_extend(self, order: DunningExtension) -> None:
        self._need_case(order)
        if not 0 < order.days <= MAX_EXTENSION_DAYS:
            raise ValueError(f"a case extends by 1 to {MAX_EXTENSION_DAYS} days")

    @workflow.update(description="Try the default card at once, beside the slots")
    async def retry_now(self, order: DunningOrder) -> Standing:
        """Refused while another try is on its way, and without a card."""
        return await self._carry_out("retry_now", order)

    @retry_now.validator
    def _may_retry(self, order: DunningOrder) -> None:
        self._need_unpaid(order)

    @workflow.update(description="Give up what is owed, by a credit note; needs a reason")
    async def forgive(self, order: DunningOrder) -> Standing:
        """Counts as paid: a subscription is active again when nothing overdue is left."""
        return await self._carry_out("forgive", order)

    @forgive.validator
    def _may_forgive(self, order: DunningOrder) -> None:
        self._need_unpaid(order)
        if not order.reason.strip():
            raise ValueError("say why it is forgiven, in `reason`")

    async def _carry_out(self, name: str, order: DunningOrder, days: int = 0) -> Standing:
        return await self.order(
            Command(name=name, reason=order.reason, days=days, invoice=order.invoice)
        )

    def _need_case(self, order: DunningOrder) -> None:
        found = self._need_unpaid(order)
        if found is not None and found.case is None:
            raise ValueError(f"{found.invoice} has no open dunning case")

    def _need_unpaid(self, order: DunningOrder) -> Collecting | None:
        """The invoice that is meant; None while the rows were not looked at yet."""
        if self.state is None:
            return None
        owed = [one for one in self.collected() if not one.closed and not one.pay_first]
        if order.invoice is not None:
            owed = [one for one in owed if one.invoice == order.invoice]
        if len(owed) != 1:
            names = ", ".join(one.invoice for one in self.collected()) or "none"
            raise ValueError(f"name one unpaid invoice in `invoice`: {names}")
        return owed[0]
