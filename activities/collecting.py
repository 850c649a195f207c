"""Collecting an invoice: the steps a subscription and a collection share besides the charge.

Where a payment's end decides something, the provider's word on it comes first.
"""

from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from activities import steering
from activities.matter import now_of
from activities.trying import TryingActivities
from billing.core import ids, keys, orders
from billing.core.agenda import State
from billing.core.clock import real_now
from billing.credits import service as credits
from billing.dunning import store as cases
from billing.dunning.rules import FinalAction
from billing.dunning.schemas import DunningCase
from billing.events import store as inbox
from billing.events.rules import event_of
from billing.invoices import store as invoices
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.rules import Outcome
from billing.payments.schemas import Payment
from workflows.contracts import CommandRequest, StepRequest

S = TypeVar("S", bound=State)


class CollectingActivities(TryingActivities[S]):
    """Open, check, call back, settle and give up on the invoices of a matter."""

    def final_action(self, case: DunningCase) -> FinalAction:
        """How the case ends when all its slots are used up."""
        return case.terms.final_action

    async def open_step(self, request: StepRequest) -> S:
        """Make the intent that the payer confirms."""
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        async with self.database.tenant(request.ref.account_id) as connection:
            payment = await payments.live(connection, keys.invoice_of(request.step.key))
        if payment is not None:
            description = f"Invoice {ids.encode(ids.INVOICE, payment.invoice_id)}"
            await self.charger.open(payment, description, save_card=True)

        return await self.once(request, _opened)

    async def check_step(self, request: StepRequest) -> S:
        """Ask the provider where a payment stands, told by an event or by the calendar."""
        asked_at = real_now()
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        event_id = event_of(request.step.key)
        payment = await self._asked_about(request, event_id)
        outcome, card = None, None
        if payment is not None and payment.opened:
            payment, outcome = await self.charger.look(payment)
            card = await self.card_of(payment, outcome)

        async def record(connection: AsyncConnection, _: S, at: datetime) -> str:
            if event_id is not None:
                await inbox.mark_looked(connection, event_id, asked_at)
            elif payment is not None:
                await payments.count_check(connection, payment.id, at)
            if payment is not None and outcome is not None:
                fresh = await payments.get(connection, payment.id)
                await self.follow(connection, request.ref, fresh, outcome, at, card=card)
            return outcome.kind if outcome is not None else "nothing to ask about"

        return await self.once(request, record)

    async def settle_step(self, request: StepRequest) -> S:
        """Book the money of a payment that was approved by hand."""

        async def book(connection: AsyncConnection, _: S, at: datetime) -> str:
            payment_id = ids.decode(ids.PAYMENT, request.step.key.partition("/")[0])
            payment = await payments.get(connection, payment_id)
            await self.book(connection, request.ref, payment, at)
            return "booked"

        return await self.once(request, book)

    async def end_approval_step(self, request: StepRequest) -> S:
        """A manual payment nobody decided on stops holding the cards back."""

        async def end(connection: AsyncConnection, _: S, at: datetime) -> str:
            payment = await payments.live(connection, keys.invoice_of(request.step.key))
            if payment is not None:
                await paying.close_unpaid(connection, payment, "canceled", at)
            return "approval ended"

        return await self.once(request, end)

    async def retire_step(self, request: StepRequest) -> S:
        """Call the open payment back at Stripe; money that came all the same is booked."""
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        invoice_id = keys.invoice_of(request.step.key)
        async with self.database.tenant(request.ref.account_id) as connection:
            payment = await payments.live(connection, invoice_id)
        outcome = await self.give_up_payment(payment)

        async def record(connection: AsyncConnection, _: S, at: datetime) -> str | None:
            if payment is not None:
                await self.follow(connection, request.ref, payment, outcome, at)
            await paying.make_way(connection, invoice_id, at)
            return outcome.kind if outcome.kind in ("canceled", "succeeded") else None

        return await self.once(request, record)

    async def give_up_step(self, request: StepRequest) -> S:
        """The final action; for the ones that end collecting, Stripe's word comes first."""
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        async with self.database.tenant(request.ref.account_id) as connection:
            case = await cases.of_invoice(connection, keys.invoice_of(request.step.key))
            payment = await payments.live(connection, case.invoice_id)
        action = self.final_action(case)
        outcome = None
        if payment is not None and action != "unpaid":
            outcome = await self.charger.give_up(payment)

        async def end(connection: AsyncConnection, _: S, at: datetime) -> str | None:
            if payment is not None and outcome is not None:
                await self.follow(connection, request.ref, payment, outcome, at)
                if outcome.kind != "canceled":
                    return outcome.kind if outcome.kind == "succeeded" else None
            await credits.lock(connection, request.ref.account_id)
            invoice = await invoices.lock(connection, case.invoice_id)
            await self.on_given_up(connection, request.ref, invoice, action, at)
            return action

        return await self.once(request, end)

    async def give_up_payment(self, payment: Payment | None) -> Outcome:
        """Cancel at the provider whatever may still bring money."""
        return await self.charger.give_up(payment) if payment else Outcome(kind="canceled")

    async def obey(self, request: CommandRequest) -> S:
        """An operator's order from the Temporal UI: the verbs of the API, once by its key."""
        ref = request.ref
        order = keys.order(ref.workflow_id.partition("/")[2], request.key)
        async with self.database.tenant(ref.account_id) as connection:
            state = await self.state(connection, ref, lock=True)
            if await orders.result_of(connection, order) is None:
                at = now_of(state)
                result = await steering.carry_out(connection, request, at)
                await orders.note(
                    connection, key=order, name=request.command.name,
                    workflow_id=ref.workflow_id, account_id=ref.account_id,
                    subject_id=ref.subject_id, at=at, result=result,
                )  # fmt: skip
                state = await self.state(connection, ref, lock=False)
            await self.save_head(connection, ref, state)
            return state

    async def _asked_about(self, request: StepRequest, event_id: str | None) -> Payment | None:
        async with self.database.tenant(request.ref.account_id) as connection:
            if event_id is not None:
                return await inbox.payment_of(connection, event_id)
            return await payments.live(connection, keys.invoice_of(request.step.key))


async def _opened(_: AsyncConnection, __: State, ___: datetime) -> str:
    """What opening did is in the payment's row already."""
    return "opened"
