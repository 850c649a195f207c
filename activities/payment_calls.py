"""Provider calls that move money for one payment, so that one lookup resolves any doubt.

An intent is created unconfirmed under one key and stored; it is confirmed under the key of an
attempt row that was committed before. A retry looks first, and never uses another key.
"""

from datetime import datetime, timedelta
from typing import Final, TypeVar

from activities.customers import Customer, Customers
from activities.dependencies import Dependencies
from activities.tries import (
    SAME_KEY_TRIES,
    doubting_a_key,
    doubting_a_look,
    tries,
    with_new_keys,
)
from billing.core import context, ids
from billing.core.errors import Conflict, ProviderFailure, Unavailable
from billing.core.failpoints import failpoint
from billing.money.payment_methods import store as method_store
from billing.money.payments import service as payment_service
from billing.money.payments import store
from billing.money.payments.card_rules import BARRED
from billing.money.payments.rules import (
    CARD_GONE,
    CHARGE_REFUSED,
    CheckoutSession,
    Decline,
    Outcome,
)
from billing.money.payments.schemas import Attempt, AttemptCard, Payment
from gateways.provider import (
    KEY_IN_USE,
    KEY_REFUSED,
    UNFINISHED,
    CheckoutRequest,
    IntentRequest,
)

R = TypeVar("R", bound=IntentRequest)
# Our clock may be ahead of the provider's; a larger gap is accepted where the card is known.
_CLOCKS_APART: Final = timedelta(seconds=5)
_CLOCKS_FAR_APART: Final = timedelta(minutes=5)


class Charger:
    """The activities' calls that open, charge, look up and cancel payments."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._database = dependencies.database
        self._provider = dependencies.provider
        self._customers = Customers(dependencies)

    async def create(
        self,
        payment: Payment,
        description: str,
        *,
        save_card: bool,
        since: datetime,
        saved_card: bool = False,
    ) -> Outcome:
        """Create the intent without storing it: the caller records it with its step.

        A retry first searches the intents made after `since`, in case an answer was lost.
        `saved_card`: it is for a card of the account's customer, and useless without that customer.
        Errors: Unavailable (ask again), ProviderFailure (refused; nothing was made).
        """

        async def make(customer: Customer) -> Outcome:
            await failpoint("intent.before_create")
            request = IntentRequest(
                key=customer.key(payment.intent_key),
                amount_minor=payment.amount_minor,
                currency=payment.currency,
                customer_id=customer.id,
                description=description,
                metadata=_metadata(payment),
                save_card=save_card,
            )
            with doubting_a_key():
                return await self._find_or_create(payment, request, since)

        outcome = await self._customers.served(payment.account_id, make, renewable=not saved_card)
        await failpoint("intent.created")
        return outcome

    async def create_page(
        self, payment: Payment, description: str, return_url: str
    ) -> CheckoutSession:
        """Create the hosted page without storing it. Errors as for `create`."""

        async def make(customer: Customer) -> CheckoutSession:
            request = CheckoutRequest(
                key=customer.key(payment.intent_key),
                amount_minor=payment.amount_minor,
                currency=payment.currency,
                customer_id=customer.id,
                description=description,
                metadata=_metadata(payment),
                return_url=return_url,
            )
            await failpoint("intent.before_create")
            with doubting_a_key():
                return await with_new_keys(
                    request.key,
                    lambda key: self._provider.create_checkout(_under(key, request)),
                )

        session = await self._customers.served(payment.account_id, make)
        await failpoint("intent.created")
        return session

    async def charge(
        self, payment: Payment, attempt: Attempt, *, off_session: bool, again: bool,
        card: AttemptCard | None = None,
    ) -> Outcome:  # fmt: skip
        """Charge the attempt's card once: a retry (`again`) first looks for a known outcome. The
        `card` is read again unless it is given.

        `unreached` means it is proven that the card was not reached. Errors: Unavailable.
        """
        intent_id = payment.stripe_payment_intent_id
        if intent_id is None:
            raise Conflict("PAYMENT_NOT_OPEN")
        if again:
            decided = await self._decided(intent_id, attempt)
            if decided is not None:
                return decided
        unreached = Outcome(kind="unreached", intent_id=intent_id)
        chosen = _pending(card) if card is not None else await self._chosen(attempt)
        if chosen.card is None:
            return _declined_untried(unreached, BARRED if chosen.is_barred else CARD_GONE)
        await failpoint("charge.before_confirm")
        try:
            with doubting_a_key():
                outcome = await self._provider.confirm_intent(
                    intent_id,
                    attempt.key,
                    chosen.card,
                    off_session=off_session,
                    is_card=chosen.provider_kind == "card",
                )
        except ProviderFailure as refused:
            return await self._refused(intent_id, attempt, chosen.card, refused)
        except Unavailable as doubt:
            if doubt.code == KEY_IN_USE:
                await failpoint("confirm.in_use")
            # A call that may still run proves nothing: the lookup decides only after an answer.
            waits = doubt.code in UNFINISHED or awaits_our_key(doubt, off_session=off_session)
            if waits or tries() <= SAME_KEY_TRIES:
                raise
            return await self._decided(intent_id, attempt) or unreached
        await failpoint("charge.confirmed")
        return await self._with_reason(outcome)

    async def look(self, payment: Payment) -> tuple[Payment, Outcome | None]:
        """Return a payment and its outcome; for a hosted page, find and record its intent first.

        Errors: Unavailable.
        """
        await failpoint("check.before_look")
        session: CheckoutSession | None = None
        if payment.stripe_checkout_session_id is not None:
            with doubting_a_look():
                session = await self._provider.retrieve_checkout(payment.stripe_checkout_session_id)
            async with self._database.tenant(payment.account_id) as connection:
                payment = await payment_service.record_session(connection, payment, session)
            if session.status == "expired":
                return payment, Outcome(kind="canceled")
        if payment.stripe_payment_intent_id is None:
            return payment, None
        outcome = await self._now(payment.stripe_payment_intent_id)
        if session is not None:
            outcome = _behind_page(session, outcome)
        return payment, await self._with_lost_decline(payment, outcome)

    async def call_back(self, payment: Payment) -> Outcome:
        """Cancel at the provider; return the outcome afterwards.

        Errors: Unavailable, also if the provider leaves open a payment that may still succeed;
        ProviderFailure if it refuses to cancel the intent.
        """
        # A new key each time: the answer stored under an old one may be outdated.
        session_id, fresh = payment.stripe_checkout_session_id, ids.new().hex
        if session_id is not None:
            key = f"{payment.intent_key}/expire-{fresh}"
            with doubting_a_look():  # at a page that it does not close
                session = await self._provider.expire_checkout(session_id, key)
            return _demand_decided(await self._page_outcome(session))
        if payment.stripe_payment_intent_id is None:
            return Outcome(kind="canceled")
        key = f"{payment.intent_key}/cancel-{fresh}"
        outcome = await self._provider.cancel_intent(payment.stripe_payment_intent_id, key)
        return await self._with_lost_decline(payment, _demand_decided(outcome))

    async def _find_or_create(
        self, payment: Payment, request: IntentRequest, since: datetime
    ) -> Outcome:
        if tries() > 1:
            name = ids.encode(ids.PAYMENT, payment.id)
            with doubting_a_look():
                found = await self._provider.find_intent(request.customer_id, name, since)
            if found is not None:
                return found
        return await with_new_keys(
            request.key, lambda key: self._provider.create_intent(_under(key, request))
        )

    async def _page_outcome(self, session: CheckoutSession) -> Outcome:
        """Return the outcome of a page that was to be closed."""
        if session.status == "expired":
            return Outcome(kind="canceled")
        if session.intent_id is None:  # a payer may still make one on the page
            return Outcome(kind="waiting")
        return _behind_page(session, await self._now(session.intent_id))

    async def _decided(self, intent_id: str, attempt: Attempt) -> Outcome | None:
        """Return the outcome of an attempt whose answer was lost; None: no card was reached.

        Errors: Unavailable.
        """
        now = await self._now(intent_id)
        if now.kind in ("succeeded", "processing"):
            return now
        if now.kind == "action" and not await self._is_of_another(now, attempt):
            return now
        return await self._declined(now, intent_id, attempt) or (now if now.is_over else None)

    async def _refused(
        self, intent_id: str, attempt: Attempt, card: str, refused: ProviderFailure
    ) -> Outcome:
        """Return the outcome of a try that the provider refused before it reached the card.

        Errors: Unavailable.
        """
        unreached = Outcome(kind="unreached", intent_id=intent_id)
        if await self._is_gone(attempt, card):
            return _declined_untried(unreached, CARD_GONE)
        await self._now(intent_id)
        why = Decline(code=CHARGE_REFUSED, message=refused.detail)
        return unreached.model_copy(update={"decline": why})

    async def _now(self, intent_id: str) -> Outcome:
        """Return the intent's outcome now. Errors: Unavailable."""
        with doubting_a_look():
            return await self._provider.retrieve_intent(intent_id)

    async def _is_of_another(self, asks: Outcome, attempt: Attempt) -> bool:
        """Return True if 3-D Secure is required for another card than the attempt's."""
        return asks.card is not None and asks.card not in await self._names(attempt)

    async def _with_reason(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the charge's decline if that is hard and the error's was soft."""
        said = outcome.decline
        if said is None or outcome.intent_id is None or said.decline_class != "soft":
            return outcome
        try:
            charges = await self._provider.charges(outcome.intent_id)
        except (ProviderFailure, Unavailable):
            return outcome  # the payment is declined in any case
        for charge in charges:
            blocked = charge.decline if charge.charge_id == outcome.charge_id else None
            if blocked is not None and blocked.decline_class == "hard":
                return outcome.model_copy(update={"decline": blocked})
        return outcome

    async def _with_lost_decline(self, payment: Payment, outcome: Outcome) -> Outcome:
        """Return a canceled intent's outcome with its pending attempt's decline, if any."""
        if not outcome.is_over or outcome.intent_id is None:
            return outcome
        async with self._database.tenant(payment.account_id) as connection:
            attempts = await store.attempts_of(connection, payment.invoice_id)
        for attempt in attempts:
            if attempt.payment_id == payment.id and attempt.status == "pending":
                return await self._declined(outcome, outcome.intent_id, attempt) or outcome
        return outcome

    async def _declined(self, now: Outcome, intent_id: str, attempt: Attempt) -> Outcome | None:
        """Return the outcome with the decline of the attempt's charge; None: no charge failed."""
        async with self._database.tenant(attempt.account_id) as connection:
            earlier = await store.charges_on_record(connection, attempt.invoice_id)
        own = await self._names(attempt)
        with doubting_a_look():
            charges = await self._provider.charges(intent_id)
        for charge in charges:
            name = charge.payment_method_id
            apart = _CLOCKS_APART if name is None else _CLOCKS_FAR_APART
            is_before = charge.created_at < attempt.real_started_at - apart
            is_anothers = name is not None and name not in own  # such as its payer's, in a browser
            if is_before or is_anothers or charge.charge_id in earlier:
                continue
            if charge.decline is not None:
                said = {"kind": "declined", "decline": charge.decline}
                return now.model_copy(update={**said, "charge_id": charge.charge_id})
        return None

    async def _is_gone(self, attempt: Attempt, card: str) -> bool:
        """Return True if the card was removed at the provider, and was not given again since."""
        with doubting_a_look():
            is_detached = await self._provider.method_is_detached(card)
        if not is_detached:
            return False
        return (await self._chosen(attempt)).card in (card, None)

    async def _names(self, attempt: Attempt) -> set[str]:
        """Return the provider's ids of the attempt's card. Errors: as for `_chosen`."""
        chosen = await self._chosen(attempt)
        async with self._database.tenant(attempt.account_id) as connection:
            return await method_store.names_of(connection, attempt.account_id, chosen.method_id)

    async def _chosen(self, attempt: Attempt) -> AttemptCard:
        """Return the card to try. Errors: Unavailable if another worker decided the attempt."""
        async with self._database.glancing(attempt.account_id) as connection:
            return _pending(await store.card_of(connection, attempt.key))


def _pending(chosen: AttemptCard | None) -> AttemptCard:
    """Return the card of an attempt that is to be made. Errors: Unavailable."""
    if chosen is None or chosen.method_id is None:
        raise no_attempt()
    if chosen.status != "pending":
        # The retried step finds itself done.
        raise Unavailable("ATTEMPT_DECIDED")
    return chosen


def awaits_our_key(doubt: Unavailable, *, off_session: bool) -> bool:
    """Return True if the try waits until our key is accepted: its matter halts, and no slot is used
    up. A payer who is present is told, once it is proven that no card was reached.
    """
    return off_session and doubt.code == KEY_REFUSED


def no_attempt() -> Conflict:
    """Return the error for a try of a card that no attempt on record asks for."""
    return Conflict("NO_ATTEMPT")


def _declined_untried(unreached: Outcome, why: Decline) -> Outcome:
    """Return the outcome of a try whose card was lost after the try was put on record."""
    return unreached.model_copy(update={"kind": "declined", "decline": why})


def _behind_page(session: CheckoutSession, outcome: Outcome) -> Outcome:
    """Return the outcome of a page's intent: a completed page cannot be retried.

    A bank debit is then pending: the bank decides, even if the payer has yet to confirm two small
    deposits, and Stripe does not cancel the intent. The bank may decline it days later.
    """
    if session.status != "complete":
        return outcome
    if outcome.kind == "action":
        return outcome.model_copy(update={"kind": "processing"})
    return outcome.model_copy(update={"is_over": True}) if outcome.kind == "declined" else outcome


def _demand_decided(outcome: Outcome) -> Outcome:
    """Return the outcome unless its payer may still pay. Errors: Unavailable."""
    if not outcome.is_over and outcome.kind not in ("canceled", "succeeded", "processing"):
        raise Unavailable("PROVIDER_NOT_CANCELED")
    return outcome


def _under(key: str, request: R) -> R:
    return request.model_copy(update={"key": key})


def _metadata(payment: Payment) -> dict[str, str]:
    return {
        "account": ids.encode(ids.ACCOUNT, payment.account_id),
        "matter": payment.workflow_id,
        "payment": ids.encode(ids.PAYMENT, payment.id),
        "invoice": ids.encode(ids.INVOICE, payment.invoice_id),
    } | _correlated()


def _correlated() -> dict[str, str]:
    """Return the correlation id of the request that caused a call, as Stripe metadata.

    Refunds and setups omit it: a retry by another request would send the key with other parameters.
    """
    known = context.correlation_id.get()
    return {"correlation_id": known} if known else {}
