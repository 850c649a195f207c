"""The steps of a subscription: its periods and trial, and the invoices it collects."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.collecting import CollectingActivities
from billing.core.agenda import Step
from billing.core.failpoints import failpoint
from billing.dunning.rules import FinalAction, Policy
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import methods
from billing.payments import store as payments
from billing.subscriptions import cycles, notes, rules, settlement, store, thresholds
from billing.subscriptions.rules import SubscriptionState
from billing.subscriptions.schemas import Subscription
from workflows.contracts import CommandRequest, MatterRef, StepRequest
from workflows.stubs import Subscriptions


class SubscriptionActivities(CollectingActivities[SubscriptionState], Subscriptions):
    """Implements workflows.stubs.Subscriptions."""

    async def state(
        self, connection: AsyncConnection, ref: MatterRef, *, lock: bool
    ) -> SubscriptionState:
        return await store.state(connection, ref.subject_id, lock=lock)

    def agenda(self, state: SubscriptionState) -> list[Step]:
        return rules.agenda(state)

    async def terms(self, connection: AsyncConnection, ref: MatterRef) -> tuple[Policy, str]:
        subscription = await store.get(connection, ref.subject_id)
        plan = await cycles.plan_of(connection, subscription)
        return Policy.model_validate(plan.dunning.model_dump()), subscription.zone

    async def on_paid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        subscription = await store.get(connection, ref.subject_id)
        await settlement.on_paid(connection, subscription, invoice, at)

    async def on_unpaid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        subscription = await store.get(connection, ref.subject_id)
        await settlement.on_unpaid(connection, subscription, at)

    async def on_given_up(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        invoice: Invoice,
        action: FinalAction,
        at: datetime,
    ) -> None:
        subscription = await store.get(connection, ref.subject_id)
        await settlement.give_up(connection, subscription, invoice, action, at)

    @activity.defn(name="subscription.load")
    async def load(self, ref: MatterRef) -> SubscriptionState:
        return await self.look(ref)

    @activity.defn(name="subscription.perform")
    async def perform(self, request: CommandRequest) -> SubscriptionState:
        return await self.obey(request)

    @activity.defn(name="subscription.charge")
    async def charge(self, request: StepRequest) -> SubscriptionState:
        return await self.charge_step(request)

    @activity.defn(name="subscription.open")
    async def open(self, request: StepRequest) -> SubscriptionState:
        return await self.open_step(request)

    @activity.defn(name="subscription.check")
    async def check(self, request: StepRequest) -> SubscriptionState:
        return await self.check_step(request)

    @activity.defn(name="subscription.settle")
    async def settle(self, request: StepRequest) -> SubscriptionState:
        return await self.settle_step(request)

    @activity.defn(name="subscription.end_approval")
    async def end_approval(self, request: StepRequest) -> SubscriptionState:
        return await self.end_approval_step(request)

    @activity.defn(name="subscription.retire")
    async def retire(self, request: StepRequest) -> SubscriptionState:
        return await self.retire_step(request)

    @activity.defn(name="subscription.give_up")
    async def give_up(self, request: StepRequest) -> SubscriptionState:
        return await self.give_up_step(request)

    @activity.defn(name="subscription.renew")
    async def renew(self, request: StepRequest) -> SubscriptionState:
        async def begin(connection: AsyncConnection, _: SubscriptionState, at: datetime) -> str:
            subscription = await store.get(connection, request.ref.subject_id)
            return await self._next_period(connection, subscription, at)

        state = await self.once(request, begin)
        await failpoint("renewal.committed")
        return await self.go_on(request, state)

    @activity.defn(name="subscription.end_trial")
    async def end_trial(self, request: StepRequest) -> SubscriptionState:
        async def finish(connection: AsyncConnection, _: SubscriptionState, at: datetime) -> str:
            subscription = await store.get(connection, request.ref.subject_id)
            payable = not subscription.amount_minor or await methods.default(
                connection, subscription.account_id
            )
            if payable or subscription.trial_end_behavior == "invoice":
                return await self._next_period(connection, subscription, at)
            if subscription.trial_end_behavior == "pause":
                paused = await store.change(
                    connection, subscription.id, status="paused", updated_at=at
                )
                await notes.announce(connection, paused, "paused", at, reason="trial ended")
                return "paused"
            await settlement.end(connection, subscription, "trial ended without a card", at)
            return "canceled"

        return await self.go_on(request, await self.once(request, finish))

    @activity.defn(name="subscription.cycle")
    async def cycle(self, request: StepRequest) -> SubscriptionState:
        async def turn(connection: AsyncConnection, _: SubscriptionState, at: datetime) -> str:
            subscription = await store.get(connection, request.ref.subject_id)
            moved = await cycles.next_cycle(connection, subscription, at)
            return f"cycle until {moved.cycle_end.isoformat()}"

        return await self.once(request, turn)

    @activity.defn(name="subscription.bill_early")
    async def bill_early(self, request: StepRequest) -> SubscriptionState:
        async def bill(connection: AsyncConnection, state: SubscriptionState, at: datetime) -> str:
            subscription = await store.get(connection, request.ref.subject_id)
            invoice = await thresholds.bill(connection, subscription, state.threshold or "", at)
            return f"invoice {invoice.number}" if invoice else "nothing to bill"

        return await self.once(request, bill)

    @activity.defn(name="subscription.end")
    async def end(self, request: StepRequest) -> SubscriptionState:
        async def finish(connection: AsyncConnection, _: SubscriptionState, at: datetime) -> str:
            subscription = await store.get(connection, request.ref.subject_id)
            await settlement.end(connection, subscription, "canceled at period end", at)
            return "canceled"

        return await self.once(request, finish)

    @activity.defn(name="subscription.abandon")
    async def abandon(self, request: StepRequest) -> SubscriptionState:
        """Cancel the first payment at Stripe, and follow what it says."""
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        async with self.database.tenant(request.ref.account_id) as connection:
            drafts = await invoices.of_matter(connection, request.ref.workflow_id, ["draft"])
            payment = await payments.live(connection, drafts[0].id) if drafts else None
        outcome = await self.give_up_payment(payment)

        async def end(
            connection: AsyncConnection, _: SubscriptionState, at: datetime
        ) -> str | None:
            if payment is not None:
                await self.follow(connection, request.ref, payment, outcome, at)
            if outcome.kind != "canceled":
                return outcome.kind if outcome.kind == "succeeded" else None
            subscription = await store.get(connection, request.ref.subject_id)
            return (await settlement.expire_incomplete(connection, subscription, at)).status

        return await self.once(request, end)

    async def _next_period(
        self, connection: AsyncConnection, subscription: Subscription, at: datetime
    ) -> str:
        moved, invoice = await cycles.renew(connection, subscription, at)
        await failpoint("renewal.in_transaction")
        if self.settings.cycle_credits_at == "start" and moved.status == "active":
            await cycles.grant_cycle(connection, moved, at)
        if invoice.status == "paid":
            await settlement.on_paid(connection, moved, invoice, at)
        return f"invoice {invoice.number or 'draft'}"
