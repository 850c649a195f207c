"""What the provider's word on a payment leads to for its invoice, and the hooks each kind fills.

Everything here happens in the transaction that records the word.
"""

from abc import abstractmethod
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.charging import Charger
from activities.matter import MatterActivities, World
from billing.core.agenda import State
from billing.core.errors import ProviderFailure
from billing.credits import service as credits
from billing.dunning import service as dunning
from billing.dunning import store as cases
from billing.dunning.rules import FinalAction, Policy
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import methods
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.rules import CardDetails, Outcome
from billing.payments.schemas import Attempt, Payment
from workflows.contracts import MatterRef

S = TypeVar("S", bound=State)
OPEN_TO_MONEY: Final = ("draft", "open")


class FollowingActivities(MatterActivities[S]):
    """Books money, opens and moves dunning cases; subclasses say what their kind makes of it."""

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

    async def follow(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        payment: Payment,
        outcome: Outcome,
        at: datetime,
        *,
        attempt: Attempt | None = None,
        card: CardDetails | None = None,
    ) -> None:
        """Record the word and book, or dun; `attempt` when it answers a try of ours."""
        was_processing = payment.status == "processing"
        payment = await paying.record_outcome(connection, payment, outcome, at)
        if outcome.kind == "succeeded" and payment.settled_at is None:
            if card is not None:
                await self._keep_card(connection, ref, payment, card, at)
            await self.book(connection, ref, payment, at)
        elif outcome.kind == "declined" and (attempt is not None or was_processing):
            await self._declined(connection, ref, payment, attempt, outcome, at)

    async def book(
        self, connection: AsyncConnection, ref: MatterRef, payment: Payment, at: datetime
    ) -> None:
        """The payment's money onto its invoice; money nobody asked for is kept on balance."""
        await payments.change(connection, payment.id, settled_at=at)
        await credits.lock(connection, ref.account_id)
        invoice = await invoices.lock(connection, payment.invoice_id)
        if invoice.status not in OPEN_TO_MONEY:
            await invoicing.keep_money(connection, invoice, payment.id, payment.received_minor, at)
            return
        invoice = await invoicing.settle(connection, invoice, payment.received_minor, at)
        if invoice.status == "paid":
            await dunning.close(connection, invoice.id, "recovered", payment.road, at)
            await self.on_paid(connection, ref, invoice, at)

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
        """An open invoice goes into dunning; a pay-first draft just waits for another card."""
        if invoice.status != "open":
            return
        policy, zone = await self.terms(connection, ref)
        await dunning.note_failure(
            connection, invoice, slot=slot, true_attempt=true_attempt, policy=policy, zone=zone,
            reason=reason, at=at,
        )  # fmt: skip
        await self.on_unpaid(connection, ref, invoice, at)

    async def card_of(self, payment: Payment, outcome: Outcome | None) -> CardDetails | None:
        """The card a payer confirmed with, when it was saved for the renewals to come."""
        if outcome is None or outcome.kind != "succeeded" or payment.road != "card":
            return None
        if payment.stripe_payment_intent_id is None:
            raise ProviderFailure("NO_INTENT", "a succeeded payment has an intent")
        return await self.charger.saved_card(payment.stripe_payment_intent_id)

    async def _keep_card(
        self,
        connection: AsyncConnection,
        ref: MatterRef,
        payment: Payment,
        card: CardDetails,
        at: datetime,
    ) -> None:
        """The card that paid what the default one could not is the default from now on."""
        case = await cases.find_of_invoice(connection, payment.invoice_id)
        await methods.remember(connection, ref.account_id, card, at, make_default=case is not None)

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
        await self.failed(connection, ref, invoice, slot, reason, at, true_attempt=True)
