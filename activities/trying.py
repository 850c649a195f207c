"""One try with one card for one invoice: three acts, and at most once by its key.

The attempt row, then the provider with no lock held, then the result with all its consequences.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.charging import SAME_KEY_TRIES, hush
from activities.following import FollowingActivities
from activities.matter import now_of
from billing.core import ids, keys
from billing.core.agenda import State, head
from billing.core.errors import Unavailable
from billing.core.failpoints import failpoint
from billing.credits import service as credits
from billing.dunning.rules import (
    ATTEMPT_WINDOW,
    MAX_ATTEMPTS_PER_CARD,
    PROVIDER_DOWN_TRIES,
    unreached_of_slot,
)
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import methods
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.rules import Outcome
from billing.payments.schemas import Attempt, Method, Payment
from workflows.contracts import StepRequest

S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Begun:
    """A charge whose attempt row is committed."""

    invoice: Invoice
    payment: Payment
    attempt: Attempt
    again: bool
    """Whether the row was there before: the card may have been tried with it."""


class TryingActivities(FollowingActivities[S]):
    """Charges the invoices of a matter."""

    async def charge_step(self, request: StepRequest) -> S:
        """One try with one card, at most once by its key."""
        begun = await self._begin(request)
        if not isinstance(begun, Begun):
            return begun
        await failpoint("charge.attempt_written")
        outcome = await self._try(begun)
        await failpoint("dunning.before_result")

        async def record(connection: AsyncConnection, _: S, at: datetime) -> str:
            await paying.finish_attempt(connection, begun.attempt, outcome, at)
            payment = await payments.get(connection, begun.payment.id)
            await self.follow(connection, request.ref, payment, outcome, at, attempt=begun.attempt)
            await hush(connection, outcome)
            return outcome.kind

        async def unrecorded(connection: AsyncConnection) -> bool:
            attempt = await payments.find_attempt(connection, begun.attempt.key)
            return attempt is not None and attempt.status == "pending"

        state = await self.once(request, record, begun=unrecorded)
        await failpoint("dunning.result_written")
        return state

    async def go_on(self, request: StepRequest, state: S) -> S:
        """Charge within the same activity what is to be charged at once.

        It spares a renewal a third of its way through Temporal. A failure is the activity's: tried
        again, it finds its own step done and goes on here.
        """
        step = head(self.agenda(state), now_of(state))
        if step is None or step.name != "charge" or step.due > now_of(state):
            return state
        return await self.charge_step(request.model_copy(update={"step": step}))

    async def _try(self, begun: Begun) -> Outcome:
        description = f"Invoice {ids.encode(ids.INVOICE, begun.invoice.id)}"
        try:
            payment = await self.charger.open(begun.payment, description, save_card=True)
        except Unavailable:
            if activity.info().attempt <= SAME_KEY_TRIES:
                raise
            # Without an intent that is stored nothing can have been confirmed.
            return Outcome(kind="unreached")
        on_session = begun.invoice.status == "draft" or "/now-" in begun.attempt.key
        return await self.charger.charge(
            payment, begun.attempt, off_session=not on_session, again=begun.again
        )

    async def _begin(self, request: StepRequest) -> Begun | S:
        """The attempt row, or the state when nothing is to be tried (any more, or at all)."""
        ref, key = request.ref, request.step.key
        async with self.database.tenant(ref.account_id) as connection:
            state = await self.state(connection, ref, lock=True)
            if not self.is_due(state, request.step):
                await self.save_head(connection, ref, state)
                return state
            at = now_of(state)
            await credits.lock(connection, ref.account_id)  # cards are removed under it too
            invoice = await invoices.lock(connection, keys.invoice_of(key))
            payment = await payments.live(connection, invoice.id, lock=True)
            method = await self._method(connection, invoice, payment, key)
            refusal = await self._why_not(connection, invoice, method, key, at)
            if method is not None and refusal is None:
                payment = payment or await paying.open_road(
                    connection, invoice, road="saved_card", method_id=method.id, at=at
                )
                attempt, again = await paying.write_attempt(
                    connection, payment, key=key, method_id=method.id, slot=keys.slot_of(key), at=at
                )
                return Begun(invoice, payment, attempt, again)
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
        self,
        connection: AsyncConnection,
        invoice: Invoice,
        method: Method | None,
        key: str,
        at: datetime,
    ) -> str | None:
        """Why this card is not tried now; None: try it."""
        if method is None:
            return "no_payment_method"
        if method.barred_at is not None:
            return "card_barred"
        tried = await payments.attempts_of(connection, invoice.id)
        if any(one.key == key and one.status == "pending" for one in tried):
            return None
        slot = keys.slot_of(key)
        if slot is not None:
            before = [one for one in tried if one.payment_method_id == method.id]
            if before and before[-1].decline_class == "hard":
                return "hard_decline_before"
            unreached = tuple(one.key for one in tried if one.status == "unreached")
            down = unreached_of_slot(ids.encode(ids.INVOICE, invoice.id), slot, unreached)
            if down >= PROVIDER_DOWN_TRIES:
                return "provider_down"
        declines = await payments.declines_of(connection, method.id, at - ATTEMPT_WINDOW)
        return "too_many_attempts" if declines >= MAX_ATTEMPTS_PER_CARD else None

    async def _skip(self, request: StepRequest, reason: str) -> S:
        async def skip(connection: AsyncConnection, _: S, at: datetime) -> str:
            key = request.step.key
            invoice = await invoices.lock(connection, keys.invoice_of(key))
            await paying.write_skipped(
                connection, invoice, key=key, slot=keys.slot_of(key), reason=reason, at=at
            )
            await self.failed(
                connection, request.ref, invoice, keys.slot_of(key), reason, at, true_attempt=False
            )
            return f"skipped: {reason}"

        return await self.once(request, skip)
