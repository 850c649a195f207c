"""Pursuing an open invoice whose subscription has ended, by the same dunning rule."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.collecting import CollectingActivities
from billing.accounts import store as accounts
from billing.core.agenda import Step
from billing.dunning import rules, service, store
from billing.dunning.rules import CollectionState, FinalAction, Policy
from billing.dunning.schemas import DunningCase
from billing.invoices import service as invoicing
from billing.invoices.schemas import Invoice
from workflows.contracts import CommandRequest, MatterRef, StepRequest
from workflows.stubs import Collections


class CollectionActivities(CollectingActivities[CollectionState], Collections):
    """Implements workflows.stubs.Collections."""

    async def state(
        self, connection: AsyncConnection, ref: MatterRef, *, lock: bool
    ) -> CollectionState:
        return await store.collection(connection, ref.subject_id, lock=lock)

    def agenda(self, state: CollectionState) -> list[Step]:
        return rules.collection_agenda(state)

    async def terms(self, connection: AsyncConnection, ref: MatterRef) -> tuple[Policy, str]:
        case = await store.find_of_invoice(connection, ref.subject_id)
        if case is not None:
            return case.terms, case.zone
        account = await accounts.get(connection, ref.account_id)
        return Policy(final_action="uncollectible"), account.zone if account else "UTC"

    def final_action(self, case: DunningCase) -> FinalAction:
        """Collection ends as uncollectible whatever the plan's policy said (product.md §11)."""
        return "uncollectible"

    async def on_paid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        """Nothing hangs on it but the invoice itself."""

    async def on_unpaid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        """The case says it all."""

    async def on_given_up(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        invoice: Invoice,
        action: FinalAction,
        at: datetime,
    ) -> None:
        await service.close(connection, invoice.id, "exhausted", action, at)
        await invoicing.mark_uncollectible(connection, invoice, at)

    @activity.defn(name="collection.load")
    async def load(self, ref: MatterRef) -> CollectionState:
        return await self.look(ref)

    @activity.defn(name="collection.perform")
    async def perform(self, request: CommandRequest) -> CollectionState:
        return await self.obey(request)

    @activity.defn(name="collection.charge")
    async def charge(self, request: StepRequest) -> CollectionState:
        return await self.charge_step(request)

    @activity.defn(name="collection.open")
    async def open(self, request: StepRequest) -> CollectionState:
        return await self.open_step(request)

    @activity.defn(name="collection.check")
    async def check(self, request: StepRequest) -> CollectionState:
        return await self.check_step(request)

    @activity.defn(name="collection.settle")
    async def settle(self, request: StepRequest) -> CollectionState:
        return await self.settle_step(request)

    @activity.defn(name="collection.end_approval")
    async def end_approval(self, request: StepRequest) -> CollectionState:
        return await self.end_approval_step(request)

    @activity.defn(name="collection.retire")
    async def retire(self, request: StepRequest) -> CollectionState:
        return await self.retire_step(request)

    @activity.defn(name="collection.give_up")
    async def give_up(self, request: StepRequest) -> CollectionState:
        return await self.give_up_step(request)
