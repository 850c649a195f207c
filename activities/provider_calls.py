"""Make the provider calls that a decision asks for, while no lock is held."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from activities.dependencies import Dependencies
from activities.order_calls import Orders
from activities.payment_calls import Charger, awaits_our_key, no_attempt
from activities.refund_calls import Refunder
from activities.tries import SAME_KEY_TRIES, doubting_a_look, tries
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure, Unavailable
from billing.core.failpoints import failpoint
from billing.money.payment_methods.rules import CardDetails
from billing.money.payments import opened_intents
from billing.money.payments.calls import Answer, Call
from billing.money.payments.pay_links import PayLinks
from billing.money.payments.rules import (
    CARDS_GONE,
    CUSTOMER_GONE,
    PROVIDER_REFUSED,
    Decline,
    Outcome,
)
from billing.money.payments.schemas import PAYPAL, Payment
from billing.money.refunds.calls import RefundAnswer, RefundCall, SurveyAnswer, SurveyCall
from gateways.provider import AMOUNT, NO_CUSTOMER

AnyCall = Call | RefundCall | SurveyCall
_HOPELESS: Final = (AMOUNT, NO_CUSTOMER)
"""Refusals to open a payment that neither a retry nor an operator can resolve."""
_MARGIN: Final = timedelta(hours=1)
# Without an attempt the time of the first try is unknown. Stripe forgets a key after a day, and an
# intent that was not stored is never confirmed.
_TRIED_FOR: Final = timedelta(days=2)


class ProviderCalls:
    """The calls of decisions; a failure that proves nothing fails the activity, which retries."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._database = dependencies.database
        self._provider = dependencies.provider
        self._charger = Charger(dependencies)
        self._orders = Orders(dependencies)
        self._refunder = Refunder(dependencies)
        self._links = PayLinks(dependencies.settings)

    async def make(self, call: AnyCall) -> Answer | RefundAnswer | SurveyAnswer:
        """Make the call; return what is known now. Errors: Unavailable, ProviderFailure."""
        if isinstance(call, SurveyCall):
            return await self._refunder.look(call)
        if isinstance(call, RefundCall):
            return await self._refunder.make(call)
        asked_at = real_now()
        try:
            answer = await self._ask(call, asked_at)
        except ProviderFailure as refused:
            hopeless = call.what == "open" and refused.code in _HOPELESS
            if not call.refusable and not hopeless:
                raise
            return Answer(call, None, asked_at, refusal=_why(refused))
        payment = call.payment
        opened = await self._store(call, answer.outcome)
        if opened is not None:
            return await self.make(opened)
        link = self._links.url(payment.account_id, "invoice", payment.invoice_id, asked_at)
        return replace(answer, pay_url=link)

    async def _store(self, call: Call, outcome: Outcome | None) -> Call | None:
        """Store the new intent; return the card's try, which begins now. None: it is decided
        again.
        """
        if call.what != "open" or call.revision is None or outcome is None:
            return None
        async with self._database.glancing(call.payment.account_id) as connection:
            opened = await opened_intents.store(connection, call, outcome)
        if opened is not None:
            await failpoint("intent.stored")
        return opened

    async def _ask(self, call: Call, asked_at: datetime) -> Answer:
        match call.what:
            case "open":
                return Answer(call, await self._open(call), asked_at)
            case "open_page":
                url = call.return_url or self._links.back
                page = await self._desk(call).create_page(call.payment, _description(call), url)
                return Answer(call, None, asked_at, session=page)
            case "try_card":
                tried = await self._try(call)
                await self._keep_next_card(call, tried)
                return Answer(call, tried, asked_at)
            case "call_back":
                called = await self._call_back(call)
                card = await self._card_of(call.payment, called) if call.save_card else None
                return Answer(call, called, asked_at, card)
            case "look":
                payment, outcome = await self._desk(call).look(call.payment)
                card = await self._card_of(payment, outcome) if call.save_card else None
                await self._keep_next_card(call, outcome)
                return Answer(call, outcome, asked_at, card)
            case "capture":
                return Answer(call, await self._orders.capture(call.payment), asked_at)

    def _desk(self, call: Call) -> Charger | Orders:
        """Return the provider with which the payment was opened."""
        return self._orders if call.payment.flow == PAYPAL else self._charger

    async def _open(self, call: Call) -> Outcome:
        try:
            return await self._charger.create(
                call.payment,
                _description(call),
                save_card=call.save_card,
                since=_since(call),
                saved_card=call.attempt is not None or call.payment.flow == "saved_card",
            )
        except Unavailable as doubt:
            waits = awaits_our_key(doubt, off_session=not call.on_session)
            if waits or call.attempt is None or tries() <= SAME_KEY_TRIES:
                raise
            # Without a stored intent nothing can have been confirmed.
            return Outcome(kind="unreached")

    async def _try(self, call: Call) -> Outcome:
        if call.attempt is None:
            raise no_attempt()
        return await self._charger.charge(
            call.payment,
            call.attempt,
            off_session=not call.on_session,
            again=call.again,
            card=call.card,
        )

    async def _keep_next_card(self, call: Call, outcome: Outcome | None) -> None:
        """Have a declined intent save the card that pays it next: the payer may use another one.

        The declined try had requested the opposite. A failed call makes the activity run again.
        """
        if not call.save_card or call.payment.flow == PAYPAL or outcome is None:
            return
        waits = outcome.kind == "declined" and not outcome.is_over
        if waits and not outcome.keeps_card and outcome.intent_id is not None:
            await self._provider.keep_next_card(outcome.intent_id)

    async def _call_back(self, call: Call) -> Outcome:
        if call.tried is None:
            return await self._desk(call).call_back(call.payment)
        await failpoint("decline.before_cancel")
        outcome = await self._desk(call).call_back(call.payment)
        await failpoint("decline.canceled")
        return outcome

    async def _card_of(self, payment: Payment, outcome: Outcome | None) -> CardDetails | None:
        """Return the card that a payer confirmed with, if it was saved for later renewals."""
        intent_id = payment.stripe_payment_intent_id
        paid = outcome is not None and outcome.kind == "succeeded"
        if not paid or payment.flow != "card" or intent_id is None:
            return None
        with doubting_a_look():
            return await self._provider.intent_card(intent_id)


def _why(refused: ProviderFailure) -> Decline:
    """Return the reason of a payment that the provider did not open."""
    if refused.code == NO_CUSTOMER:
        return Decline(code=CUSTOMER_GONE, message=CARDS_GONE)
    return Decline(code=PROVIDER_REFUSED, message=refused.detail)


def _description(call: Call) -> str:
    return call.description or f"Invoice {ids.encode(ids.INVOICE, call.payment.invoice_id)}"


def _since(call: Call) -> datetime:
    """Return the time to search for a lost intent from, with a margin for the provider's clock."""
    if call.attempt is not None:
        return call.attempt.real_started_at - _MARGIN
    return real_now() - _TRIED_FOR
