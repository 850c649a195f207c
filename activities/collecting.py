"""Collecting an invoice: the steps a subscription and a collection share, and the hooks they fill.

Each charge is three acts: the attempt row, the provider with no lock held, then the result with
all its consequences and the step key.
"""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.charging import Charger
from activities.matter import MatterActivities, World, now_of
from billing.core import ids, keys
from billing.core.agenda import State
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure
from billing.core.failpoints import failpoint
from billing.credits import service as credits
from billing.dunning import service as dunning
from billing.dunning import store as cases
from billing.dunning.rules import (
    ATTEMPT_WINDOW,
    MAX_ATTEMPTS_PER_CARD,
    PROVIDER_DOWN_TRIES,
    FinalAction,
    Policy,
)
from billing.events import store as inbox
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import methods
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.rules import CardDetails, Outcome
from billing.payments.schemas import Attempt, Method, Payment
from workflows.contracts import MatterRef, StepRequest

S = TypeVar("S", bound=State)
OPEN_TO_MONEY = ("draft", "open")


@dataclass(frozen=True)
class Begun:
    """A charge whose attempt row is committed."""

    invoice: Invoice
    payment: Payment
    attempt: Attempt


class CollectingActivities(MatterActivities[S]):
    """Charge, check, settle and give up on the invoices of a matter."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.charger = Charger(world)

    @abstractmethod
    async def terms(self, connection: AsyncConnection, ref: MatterRef) -> tuple[Policy, str]:
        """The dunning policy, and the customer's zone."""

    @abstractmethod
    async def on_paid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        """The invoice is settled."""

    @abstractmethod
    async def on_unpaid(
        self, connection: AsyncConnection, ref: MatterRef, invoice: Invoice, at: datetime
    ) -> None:
        """A try failed and the invoice's case is open."""

    @abstractmethod
    async def on_given_up(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        invoice: Invoice,
        action: FinalAction,
        at: datetime,
    ) -> None:
        """All slots are used up: carry out the final action."""

    async def charge_step(self, request: StepRequest) -> S:
        """One try with one card, at most once by its key."""
        begun = await self._begin_charge(request)
        if not isinstance(begun, Begun):
            return begun
        await failpoint("charge.attempt_written")
        description = f"Invoice {ids.encode(ids.INVOICE, begun.invoice.id)}"
        payment = await self.charger.open(begun.payment, description, save_card=True)
        on_session = begun.invoice.status == "draft" or "/now-" in begun.attempt.key
        outcome = await self.charger.charge(payment, begun.attempt, off_session=not on_session)
        await failpoint("dunning.before_result")

        async def record(connection: AsyncConnection, _: S, at: datetime) -> str:
            await paying.finish_attempt(connection, begun.attempt, outcome, at)
            await self._follow(connection, request.ref, payment, begun.attempt, outcome, None, at)
            return outcome.kind

        state = await self.once(request, record)
        await failpoint("dunning.result_written")
        return state

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
        async with self.database.tenant(request.ref.account_id) as connection:
            event_id = request.step.key.rpartition("/")[2]
            by_event = request.step.key.startswith(f"{_subject(request.ref)}/")
            payment = (
                await inbox.payment_of(connection, event_id)
                if by_event
                else await payments.live(connection, keys.invoice_of(request.step.key))
            )
        outcome, card = None, None
        if payment is not None and payment.opened:
            payment, outcome = await self.charger.look(payment)
            card = await self._card_of(payment, outcome)

        async def record(connection: AsyncConnection, _: S, at: datetime) -> str:
            await inbox.mark_handled(connection, request.ref.workflow_id, asked_at)
            if payment is not None and not by_event:
                await payments.count_check(connection, payment.id, at)
            if payment is not None and outcome is not None:
                await self._follow(connection, request.ref, payment, None, outcome, card, at)
            return outcome.kind if outcome is not None else "nothing to ask about"

        return await self.once(request, record)

    async def settle_step(self, request: StepRequest) -> S:
        """Book the money of a payment that was approved by hand."""

        async def book(connection: AsyncConnection, _: S, at: datetime) -> str:
            payment_id = ids.decode(ids.PAYMENT, request.step.key.partition("/")[0])
            payment = await payments.get(connection, payment_id)
            await self._book(connection, request.ref, payment, at)
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

    async def give_up_step(self, request: StepRequest) -> S:
        """The final action; for the ones that end collecting, Stripe's word comes first."""
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        async with self.database.tenant(request.ref.account_id) as connection:
            case = await cases.of_invoice(connection, keys.invoice_of(request.step.key))
            payment = await payments.live(connection, case.invoice_id)
        action = case.terms.final_action
        outcome = None
        if payment is not None and action != "unpaid":
            outcome = await self.charger.give_up(payment)

        async def end(connection: AsyncConnection, _: S, at: datetime) -> str | None:
            if payment is not None and outcome is not None:
                await self._follow(connection, request.ref, payment, None, outcome, None, at)
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

    async def _begin_charge(self, request: StepRequest) -> Begun | S:
        """The attempt row, or the state when nothing is to be tried (any more, or at all)."""
        ref, key = request.ref, request.step.key
        async with self.database.tenant(ref.account_id) as connection:
            state = await self.state(connection, ref, lock=True)
            if not self.is_due(state, request.step):
                await self.save_head(connection, ref, state)
                return state
            at = now_of(state)
            invoice = await invoices.lock(connection, keys.invoice_of(key))
            payment = await payments.live(connection, invoice.id, lock=True)
            method = await self._method(connection, invoice, payment, key)
            refusal = await self._why_not(connection, invoice, method, key)
            if method is not None and refusal is None:
                payment = payment or await paying.open_road(
                    connection, invoice, road="saved_card", method_id=method.id, at=at
                )
                attempt = await paying.write_attempt(
                    connection, payment, key=key, method_id=method.id, slot=keys.slot_of(key), at=at
                )
                return Begun(invoice, payment, attempt)
        return await self._skip(request, refusal or "no_payment_method")

    async def _method(
        self, connection: AsyncConnection, invoice: Invoice, payment: Payment | None, key: str
    ) -> Method | None:
        """The card this key is for: the new one, the one asked for, the payment's, the default."""
        mark = key.partition("/")[2]
        named = None
        if mark.startswith("card-"):
            named = ids.decode(ids.PAYMENT_METHOD, mark.removeprefix("card-"))
        elif mark.startswith("now-"):
            named = invoice.pay_method_id
        elif invoice.status == "draft" and payment is not None:
            named = payment.payment_method_id
        if named is not None:
            return await methods.find(connection, named)
        return await methods.default(connection, invoice.account_id)

    async def _why_not(
        self, connection: AsyncConnection, invoice: Invoice, method: Method | None, key: str
    ) -> str | None:
        """Why this card is not tried now; None: try it."""
        if method is None:
            return "no_payment_method"
        if method.barred_at is not None:
            return "card_barred"
        tried = await payments.attempts_of(connection, invoice.id)
        undecided = any(one.key == key and one.status == "pending" for one in tried)
        if undecided:
            return None
        if keys.slot_of(key) is not None:
            before = [one for one in tried if one.payment_method_id == method.id]
            if before and before[-1].decline_class == "hard":
                return "hard_decline_before"
            if sum(one.status == "unreached" for one in tried) >= PROVIDER_DOWN_TRIES:
                return "provider_down"
        tries = await payments.tries_with(connection, method.id, real_now() - ATTEMPT_WINDOW)
        return "too_many_attempts" if tries >= MAX_ATTEMPTS_PER_CARD else None

    async def _skip(self, request: StepRequest, reason: str) -> S:
        async def skip(connection: AsyncConnection, _: S, at: datetime) -> str:
            key = request.step.key
            invoice = await invoices.lock(connection, keys.invoice_of(key))
            await paying.write_skipped(
                connection, invoice, key=key, slot=keys.slot_of(key), reason=reason, at=at
            )
            await self._failed(
                connection, request.ref, invoice, keys.slot_of(key), reason, at, true_attempt=False
            )
            return f"skipped: {reason}"

        return await self.once(request, skip)

    async def _follow(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        payment: Payment,
        attempt: Attempt | None,
        outcome: Outcome,
        card: CardDetails | None,
        at: datetime,
    ) -> None:
        """The consequences of the provider's word, in the transaction that records it."""
        was_processing = payment.status == "processing"
        payment = await paying.record_outcome(connection, payment, outcome, at)
        if outcome.kind == "succeeded" and payment.settled_at is None:
            if card is not None:
                await methods.remember(connection, ref.account_id, card, at, make_default=False)
            await self._book(connection, ref, payment, at)
        elif outcome.kind == "declined" and (attempt is not None or was_processing):
            await self._declined(connection, ref, payment, attempt, outcome, at)

    async def _declined(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        payment: Payment,
        attempt: Attempt | None,
        outcome: Outcome,
        at: datetime,
    ) -> None:
        decline = outcome.decline
        if attempt is None:
            attempt = await payments.last_attempt(connection, payment.id)
        if decline is not None and decline.bars_card and attempt and attempt.payment_method_id:
            await methods.change(connection, attempt.payment_method_id, barred_at=at)
        invoice = await invoices.lock(connection, payment.invoice_id)
        slot = attempt.slot if attempt is not None else None
        reason = decline.reason if decline is not None else "declined"
        await self._failed(connection, ref, invoice, slot, reason, at, true_attempt=True)

    async def _failed(
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
        """An open invoice goes into dunning; a pay-first draft just waits for another card."""
        if invoice.status != "open":
            return
        policy, zone = await self.terms(connection, ref)
        await dunning.note_failure(
            connection, invoice, slot=slot, true_attempt=true_attempt, policy=policy, zone=zone,
            reason=reason, at=at,
        )  # fmt: skip
        await self.on_unpaid(connection, ref, invoice, at)

    async def _book(
        self, connection: AsyncConnection, ref: MatterRef, payment: Payment, at: datetime
    ) -> None:
        """The payment's money onto its invoice; money nobody asked for is kept on balance."""
        await payments.change(connection, payment.id, settled_at=at)
        await credits.lock(connection, ref.account_id)
        invoice = await invoices.lock(connection, payment.invoice_id)
        if invoice.status not in OPEN_TO_MONEY:
            await invoicing.keep_money(connection, invoice, payment.id, payment.received_minor, at)
            return
        if payment.received_minor >= invoice.remaining_minor:
            await dunning.close(connection, invoice.id, "recovered", payment.road, at)
        invoice = await invoicing.settle(connection, invoice, payment.received_minor, at)
        if invoice.status == "paid":
            await self.on_paid(connection, ref, invoice, at)

    async def _card_of(self, payment: Payment, outcome: Outcome | None) -> CardDetails | None:
        """The card a payer confirmed with, when it was saved for the renewals to come."""
        if outcome is None or outcome.kind != "succeeded" or payment.road != "card":
            return None
        if payment.stripe_payment_intent_id is None:
            raise ProviderFailure("NO_INTENT", "a succeeded payment has an intent")
        return await self.charger.saved_card(payment.stripe_payment_intent_id)


async def _opened(_: AsyncConnection, __: State, ___: datetime) -> str:
    """What opening did is in the payment's row already."""
    return "opened"


def _subject(ref: MatterRef) -> str:
    return ref.workflow_id.partition("/")[2]
