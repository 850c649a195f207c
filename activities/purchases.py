"""The steps of a purchase: open the payment, follow it, grant once, or end it proven unpaid."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.charging import Charger, hush
from activities.matter import MatterActivities, World
from billing.core import ids, keys
from billing.core.agenda import Step
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure
from billing.core.failpoints import failpoint
from billing.core.money import show_decimal
from billing.events import store as inbox
from billing.events.rules import event_of
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.rules import Outcome
from billing.payments.schemas import Attempt, Payment
from billing.purchases import rules, service, store
from billing.purchases.rules import PurchaseState
from billing.purchases.schemas import Purchase
from workflows.contracts import CommandRequest, MatterRef, StepRequest
from workflows.stubs import Purchases


class PurchaseActivities(MatterActivities[PurchaseState], Purchases):
    """Implements workflows.stubs.Purchases."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.charger = Charger(world)

    async def state(
        self, connection: AsyncConnection, ref: MatterRef, *, lock: bool
    ) -> PurchaseState:
        return await store.state(connection, ref.subject_id, lock=lock)

    def agenda(self, state: PurchaseState) -> list[Step]:
        return rules.agenda(state)

    @activity.defn(name="purchase.load")
    async def load(self, ref: MatterRef) -> PurchaseState:
        return await self.look(ref)

    @activity.defn(name="purchase.perform")
    async def perform(self, request: CommandRequest) -> PurchaseState:
        return await self.obey(request)

    @activity.defn(name="purchase.open")
    async def open(self, request: StepRequest) -> PurchaseState:
        begun = await self._begin(request)
        if begun is None:
            return await self.look(request.ref)
        purchase, payment, attempt, again = begun
        try:
            outcome = await self._open(purchase, payment, attempt, again=again)
        except ProviderFailure as refusal:
            return await self._refused(request, refusal)

        async def record(connection: AsyncConnection, _: PurchaseState, at: datetime) -> str:
            if attempt is not None and outcome is not None:
                await paying.finish_attempt(connection, attempt, outcome, at)
            if outcome is not None:
                await self._follow(connection, request, payment, outcome, at, saved_card=True)
                await hush(connection, outcome)
            return outcome.kind if outcome is not None else "opened"

        return await self.once(request, record)

    @activity.defn(name="purchase.check")
    async def check(self, request: StepRequest) -> PurchaseState:
        asked_at, event_id = real_now(), event_of(request.step.key)
        async with self.database.tenant(request.ref.account_id) as connection:
            payment = await inbox.payment_of(connection, event_id) if event_id else None
            if payment is None:
                _, payment = await store.with_payment(connection, request.ref.subject_id)
        outcome = None
        if payment is not None and payment.opened and payment.settled_at is None:
            payment, outcome = await self.charger.look(payment)
        await failpoint("purchase.before_fulfil")

        async def record(connection: AsyncConnection, _: PurchaseState, at: datetime) -> str:
            await inbox.mark_handled(connection, request.ref.workflow_id, asked_at, event_id)
            if payment is not None and event_id is None:
                await payments.count_check(connection, payment.id, at)
            if payment is not None and outcome is not None:
                await self._follow(connection, request, payment, outcome, at, saved_card=False)
            return outcome.kind if outcome is not None else "nothing to ask about"

        state = await self.once(request, record)
        await failpoint("purchase.fulfilled")
        return state

    @activity.defn(name="purchase.fulfil")
    async def fulfil(self, request: StepRequest) -> PurchaseState:
        async def book(connection: AsyncConnection, state: PurchaseState, at: datetime) -> str:
            payment_id = ids.decode(ids.PAYMENT, state.unsettled or "")
            payment = await payments.get(connection, payment_id)
            return (await service.fulfil(connection, request.ref.subject_id, payment, at)).status

        return await self.once(request, book)

    @activity.defn(name="purchase.retire")
    async def retire(self, request: StepRequest) -> PurchaseState:
        called = await self._call_back(request)
        if called is None:
            return await self.look(request.ref)
        purchase, payment, outcome = called

        async def record(connection: AsyncConnection, _: PurchaseState, at: datetime) -> str | None:
            if payment is not None:
                await self._follow(connection, request, payment, outcome, at, saved_card=False)
            await paying.make_way(connection, purchase.invoice_id, at)
            return outcome.kind if outcome.kind in ("canceled", "succeeded") else None

        return await self.once(request, record)

    @activity.defn(name="purchase.remind")
    async def remind(self, request: StepRequest) -> PurchaseState:
        async def tell(connection: AsyncConnection, state: PurchaseState, at: datetime) -> str:
            payment = await payments.get(connection, ids.decode(ids.PAYMENT, state.payment or ""))
            await payments.count_check(connection, payment.id, at)
            await paying.announce(
                connection, payment, "awaits_approval", at, reference=payment.transaction_reference
            )
            return "reminded"

        return await self.once(request, tell)

    @activity.defn(name="purchase.expire")
    async def expire(self, request: StepRequest) -> PurchaseState:
        called = await self._call_back(request)
        if called is None:
            return await self.look(request.ref)
        purchase, payment, outcome = called

        async def record(connection: AsyncConnection, _: PurchaseState, at: datetime) -> str | None:
            if payment is not None and outcome.kind != "canceled":
                await self._follow(connection, request, payment, outcome, at, saved_card=False)
                return outcome.kind if outcome.kind == "succeeded" else None
            await service.end_unpaid(connection, purchase.id, "expired", at)
            return "expired"

        return await self.once(request, record)

    async def _call_back(
        self, request: StepRequest
    ) -> tuple[Purchase, Payment | None, Outcome] | None:
        """Cancel at Stripe what may still bring money, and its word; None: the step is not due."""
        async with self.database.tenant(request.ref.account_id) as connection:
            state = await self.state(connection, request.ref, lock=False)
            if not self.is_due(state, request.step):
                return None
            purchase = await store.get(connection, request.ref.subject_id)
            payment = await payments.live(connection, purchase.invoice_id)
        if payment is None:
            return purchase, None, Outcome(kind="canceled")
        return purchase, payment, await self.charger.give_up(payment)

    async def _begin(
        self, request: StepRequest
    ) -> tuple[Purchase, Payment, Attempt | None, bool] | None:
        """The rows to work on, if the step is due; a saved card's attempt is committed first.

        With it, whether that was there before.
        """
        async with self.database.tenant(request.ref.account_id) as connection:
            state = await self.state(connection, request.ref, lock=False)
            if not self.is_due(state, request.step):
                return None
            purchase, payment = await store.with_payment(connection, request.ref.subject_id)
            if payment is not None and payment.waits_for_its_turn:
                payment = await payments.live(connection, purchase.invoice_id)
            if payment is None or payment.status not in payments.LIVE:
                raise ProviderFailure("NO_PAYMENT", "the purchase has no live payment")
            attempt, again = None, False
            if purchase.road == "saved_card" and purchase.payment_method_id is not None:
                attempt, again = await paying.write_attempt(
                    connection,
                    payment,
                    key=keys.slot_attempt(purchase.invoice_id, 0),
                    method_id=purchase.payment_method_id,
                    slot=0,
                    at=state.clock_at or real_now(),
                )
        if attempt is not None:
            await failpoint("charge.attempt_written")
        return purchase, payment, attempt, again

    async def _open(
        self, purchase: Purchase, payment: Payment, attempt: Attempt | None, *, again: bool
    ) -> Outcome | None:
        description = f"{purchase.pack_name} ({show_decimal(purchase.credits)} credits)"
        if purchase.road == "checkout":
            url = purchase.return_url or self.settings.public_url
            await self.charger.open_page(payment, description, url)
            return None
        if attempt is None:
            return await self.charger.create(payment, description, save_card=False)
        payment = await self.charger.open(payment, description, save_card=False)
        nobody_there = purchase.top_up_id is not None
        outcome = await self.charger.charge(payment, attempt, off_session=nobody_there, again=again)
        if outcome.kind in ("declined", "unreached"):
            # Failed must mean proven not charged: nobody can confirm a canceled intent later.
            after = await self.charger.give_up(payment)
            return after if after.kind in ("succeeded", "processing") else outcome
        return outcome

    async def _follow(
        self,
        connection: AsyncConnection,
        request: StepRequest,
        payment: Payment,
        outcome: Outcome,
        at: datetime,
        *,
        saved_card: bool,
    ) -> None:
        """The consequences of the provider's word, in the transaction that records it."""
        payment = await paying.record_outcome(connection, payment, outcome, at)
        end: dict[str, Any] | None = None
        if outcome.kind == "succeeded" and payment.settled_at is None:
            await failpoint("purchase.in_fulfil")
            await service.fulfil(connection, request.ref.subject_id, payment, at)
        elif outcome.kind == "declined" and saved_card and outcome.decline is not None:
            end = {"code": outcome.decline.reason, "message": outcome.decline.message}
        elif outcome.kind == "unreached":
            end = {"code": "PLATFORM_ERROR", "message": "the provider could not be reached"}
        elif outcome.kind == "canceled" and not await payments.live(connection, payment.invoice_id):
            end = {"code": "PAYMENT_CANCELED", "message": "the payment was canceled"}
        if end is not None:
            await service.end_unpaid(connection, request.ref.subject_id, "failed", at, **end)

    async def _refused(self, request: StepRequest, refusal: ProviderFailure) -> PurchaseState:
        async def record(connection: AsyncConnection, _: PurchaseState, at: datetime) -> str:
            await service.end_unpaid(
                connection, request.ref.subject_id, "failed", at,
                code="PLATFORM_ERROR", message=refusal.detail,
            )  # fmt: skip
            return "refused"

        return await self.once(request, record)
