"""The steps of a use that a card pays at once: the same tries and checks as for any invoice."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.collecting import CollectingActivities
from billing.charges import rules, service, store
from billing.charges.rules import ChargeState
from billing.core.agenda import Step
from billing.dunning.rules import FinalAction, Policy
from billing.invoices.schemas import Invoice
from billing.payments import store as payments
from workflows.contracts import CommandRequest, MatterRef, StepRequest
from workflows.stubs import Charges


class ChargeActivities(CollectingActivities[ChargeState], Charges):
    """Implements workflows.stubs.Charges."""

    async def state(
        self, connection: AsyncConnection, ref: MatterRef, *, lock: bool
    ) -> ChargeState:
        return await store.state(connection, ref.subject_id, lock=lock)

    def agenda(self, state: ChargeState) -> list[Step]:
        return rules.agenda(state)

    async def terms(self, connection: AsyncConnection, ref: MatterRef) -> tuple[Policy, str]:
        """Never asked: a draft has no recovery."""
        return Policy(final_action="uncollectible"), "UTC"

    async def on_paid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        await service.complete(connection, ref.account_id, ref.subject_id, at)

    async def on_unpaid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        """Said by `failed` already."""

    async def on_given_up(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        invoice: Invoice,
        action: FinalAction,
        at: datetime,
    ) -> None:
        """Never comes: a draft has no recovery."""

    async def failed(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        invoice: Invoice,
        slot: int | None,
        reason: str,
        at: datetime,
        *,
        true_attempt: bool,
    ) -> None:
        """A decline fails the record; the open payment is called back at the provider next."""
        if reason != "provider_down":
            await service.fail(connection, ref.account_id, ref.subject_id, reason, at)

    @activity.defn(name="charge.load")
    async def load(self, ref: MatterRef) -> ChargeState:
        return await self.look(ref)

    @activity.defn(name="charge.perform")
    async def perform(self, request: CommandRequest) -> ChargeState:
        return await self.obey(request)

    @activity.defn(name="charge.charge")
    async def charge(self, request: StepRequest) -> ChargeState:
        return await self.charge_step(request)

    @activity.defn(name="charge.open")
    async def open(self, request: StepRequest) -> ChargeState:
        return await self.open_step(request)

    @activity.defn(name="charge.check")
    async def check(self, request: StepRequest) -> ChargeState:
        return await self.check_step(request)

    @activity.defn(name="charge.settle")
    async def settle(self, request: StepRequest) -> ChargeState:
        return await self.settle_step(request)

    @activity.defn(name="charge.end_approval")
    async def end_approval(self, request: StepRequest) -> ChargeState:
        return await self.end_approval_step(request)

    @activity.defn(name="charge.retire")
    async def retire(self, request: StepRequest) -> ChargeState:
        return await self.retire_step(request)

    @activity.defn(name="charge.expire")
    async def expire(self, request: StepRequest) -> ChargeState:
        """Cancel at the provider, and follow what it says."""
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        async with self.database.tenant(request.ref.account_id) as connection:
            draft = await store.draft_of(connection, request.ref.subject_id)
            payment = await payments.live(connection, draft.id) if draft else None
        outcome = await self.give_up_payment(payment)

        async def end(connection: AsyncConnection, _: ChargeState, at: datetime) -> str | None:
            if payment is not None:
                await self.follow(connection, request.ref, payment, outcome, at)
            if outcome.kind != "canceled":
                return outcome.kind if outcome.kind == "succeeded" else None
            account_id, record_id = request.ref.account_id, request.ref.subject_id
            await service.close_roads(connection, record_id, at)
            await service.fail(connection, account_id, record_id, "not charged in time", at)
            return "expired"

        return await self.once(request, end)
