"""Moving money for one payment through the provider, so that doubt is always one look away.

An intent is created unconfirmed under one key and stored; it is confirmed under the key of an
attempt row that was committed before. A repeat looks first, and never takes another key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from activities.dependencies import Dependencies
from activities.tries import tries
from billing.core import context, ids
from billing.core.errors import Conflict, ProviderFailure, Unavailable
from billing.core.failpoints import failpoint
from billing.money.payment_methods.rules import CardDetails
from billing.money.payments import service as payment_service
from billing.money.payments import store
from billing.money.payments.rules import CheckoutSession, Outcome
from billing.money.payments.schemas import Attempt, Payment
from billing.platform.accounts import store as accounts
from gateways.provider import KEY_IN_USE, KEY_REUSED, UNFINISHED, CheckoutRequest, IntentRequest

# The provider may have stored a 500 under a key; after these tries the look decides alone.
SAME_KEY_TRIES: Final = 3
CUSTOMERS_REMEMBERED: Final = 10_000
# Our clock may be ahead of theirs. A charge of the try's own card is its own by that much more.
_CLOCKS_APART: Final = timedelta(seconds=5)
_CLOCKS_FAR_APART: Final = timedelta(minutes=5)


class Charger:
    """Opens, charges, looks at and cancels payments; a collaborator of the activities."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._database = dependencies.database
        self._provider = dependencies.provider
        self._customers: dict[UUID, str] = {}

    async def create(
        self, payment: Payment, description: str, *, save_card: bool, since: datetime
    ) -> Outcome:
        """Make the intent, without storing it: the caller records it with its step.

        One whose answer was lost is looked for among those made after `since`.
        Errors: Unavailable (ask again), ProviderFailure (refused; nothing was made).
        """
        customer = await self.customer(payment.account_id)
        await failpoint("intent.before_create")
        request = IntentRequest(
            key=harmless_key(payment.intent_key),
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            customer_id=customer,
            description=description,
            metadata=_metadata(payment),
            save_card=save_card,
        )
        with _doubting_a_key():
            outcome = await self._find_or_create(payment, request, since)
        await failpoint("intent.created")
        return outcome

    async def create_page(
        self, payment: Payment, description: str, return_url: str
    ) -> CheckoutSession:
        """Make the hosted page, without storing it. Errors as for `create`."""
        request = CheckoutRequest(
            key=harmless_key(payment.intent_key),
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            customer_id=await self.customer(payment.account_id),
            description=description,
            metadata=_metadata(payment),
            return_url=return_url,
        )
        await failpoint("intent.before_create")
        with _doubting_a_key():
            session = await self._provider.create_checkout(request)
        await failpoint("intent.created")
        return session

    async def charge(
        self, payment: Payment, attempt: Attempt, *, off_session: bool, again: bool
    ) -> Outcome:
        """Try the attempt's card, once: what a look can tell is not tried `again`.

        `unreached` means proven: nothing got as far as the card. Errors: Unavailable.
        """
        intent_id = payment.stripe_payment_intent_id
        if intent_id is None:
            raise Conflict("PAYMENT_NOT_OPEN", "open the payment before charging it")
        if again:
            decided = await self._decided(intent_id, attempt)
            if decided is not None:
                return decided
        unreached = Outcome(kind="unreached", intent_id=intent_id)
        chosen = await self._chosen(attempt)
        if chosen.card is None:
            return unreached
        await failpoint("charge.before_confirm")
        try:
            with _doubting_a_key():
                outcome = await self._provider.confirm_intent(
                    intent_id,
                    attempt.key,
                    chosen.card,
                    off_session=off_session,
                    is_card=chosen.provider_kind == "card",
                )
        except ProviderFailure:
            return unreached  # refused before any card was asked, such as one detached at Stripe
        except Unavailable as doubt:
            if doubt.code == KEY_IN_USE:
                await failpoint("confirm.in_use")
            # A call that may still run proves nothing: only after an answer the look decides.
            if doubt.code in UNFINISHED or tries() <= SAME_KEY_TRIES:
                raise
            return await self._decided(intent_id, attempt) or unreached
        await failpoint("charge.confirmed")
        return await self._with_reason(outcome)

    async def look(self, payment: Payment) -> tuple[Payment, Outcome | None]:
        """The provider's word on a payment; for a hosted page first the intent behind it."""
        await failpoint("check.before_look")
        session: CheckoutSession | None = None
        if payment.stripe_checkout_session_id is not None:
            session = await self._provider.retrieve_checkout(payment.stripe_checkout_session_id)
            async with self._database.tenant(payment.account_id) as connection:
                payment = await payment_service.record_session(connection, payment, session)
            if session.status == "expired":
                return payment, Outcome(kind="canceled")
        if payment.stripe_payment_intent_id is None:
            return payment, None
        outcome = await self._provider.retrieve_intent(payment.stripe_payment_intent_id)
        if session is not None:
            outcome = _behind_page(session, outcome)
        return payment, await self._with_lost_decline(payment, outcome)

    async def give_up(self, payment: Payment) -> Outcome:
        """Cancel at the provider, and answer what the payment is afterwards.

        Errors: Unavailable also where the provider leaves open what may still bring money.
        """
        if payment.stripe_checkout_session_id is not None:
            session = await self._provider.expire_checkout(
                payment.stripe_checkout_session_id, harmless_key(f"{payment.intent_key}/expire")
            )
            if session.status == "expired" or session.intent_id is None:
                return Outcome(kind="canceled")
            outcome = await self._provider.retrieve_intent(session.intent_id)
            return _behind_page(session, outcome)
        if payment.stripe_payment_intent_id is None:
            return Outcome(kind="canceled")
        # A key of its own each time: the answer stored under another says what was then.
        key = f"{payment.intent_key}/cancel-{ids.new().hex}"
        outcome = await self._provider.cancel_intent(payment.stripe_payment_intent_id, key)
        if outcome.kind not in ("canceled", "succeeded", "processing"):
            raise Unavailable("PROVIDER_NOT_CANCELED", "the provider did not cancel the payment")
        return await self._with_lost_decline(payment, outcome)

    async def saved_card(self, intent_id: str) -> CardDetails | None:
        """The card an intent was paid with, if the payer let us keep it."""
        return await self._provider.intent_card(intent_id)

    async def keep_next_card(self, intent_id: str) -> None:
        """Have the card kept that pays an intent next. Errors: Unavailable."""
        await self._provider.keep_next_card(intent_id)

    async def customer(self, account_id: UUID) -> str:
        """The account's Stripe customer, made once [A15]; it never changes afterwards."""
        known = self._customers.get(account_id)
        if known is None:
            known = await self._find_customer(account_id)
            if len(self._customers) >= CUSTOMERS_REMEMBERED:
                self._customers.clear()
            self._customers[account_id] = known
        return known

    async def _find_customer(self, account_id: UUID) -> str:
        async with self._database.tenant(account_id) as connection:
            account = await accounts.get(connection, account_id)
        if account is None:
            raise Conflict("NOT_FOUND", "no such account")
        if account.stripe_customer_id is not None:
            return account.stripe_customer_id
        external = ids.encode(ids.ACCOUNT, account_id)
        made = await self._provider.create_customer(
            account_id, harmless_key(f"{external}/customer"), {"account": external}
        )
        async with self._database.tenant(account_id) as connection:
            return await accounts.lock_customer(connection, account_id, made) or made

    async def _find_or_create(
        self, payment: Payment, request: IntentRequest, since: datetime
    ) -> Outcome:
        if tries() > 1:
            found = await self._provider.find_intent(
                request.customer_id, ids.encode(ids.PAYMENT, payment.id), since
            )
            if found is not None:
                return found
        return await self._provider.create_intent(request)

    async def _decided(self, intent_id: str, attempt: Attempt) -> Outcome | None:
        """Outcome of an attempt whose answer was lost; None: it never reached the card."""
        now = await self._provider.retrieve_intent(intent_id)
        if now.kind in ("succeeded", "processing"):
            return now
        if now.kind == "action" and not await self._is_of_another(now, attempt):
            return now
        return await self._declined(now, intent_id, attempt) or (now if now.is_over else None)

    async def _is_of_another(self, asks: Outcome, attempt: Attempt) -> bool:
        """True if 3-D Secure is asked for the card of an earlier try."""
        card = (await self._chosen(attempt)).card
        return None not in (card, asks.card) and card != asks.card

    async def _with_reason(self, outcome: Outcome) -> Outcome:
        """The decline by its charge, where that forbids more than the error has said."""
        said = outcome.decline
        if said is None or outcome.intent_id is None or said.decline_class != "soft":
            return outcome
        try:
            charges = await self._provider.charges(outcome.intent_id)
        except (ProviderFailure, Unavailable):
            return outcome  # declined it is all the same
        for charge in charges:
            blocked = charge.decline if charge.charge_id == outcome.charge_id else None
            if blocked is not None and blocked.decline_class == "hard":
                return outcome.model_copy(update={"decline": blocked})
        return outcome

    async def _with_lost_decline(self, payment: Payment, outcome: Outcome) -> Outcome:
        """Of a canceled intent its try's own decline, where nobody has recorded that yet."""
        if not outcome.is_over or outcome.intent_id is None:
            return outcome
        async with self._database.tenant(payment.account_id) as connection:
            attempts = await store.attempts_of(connection, payment.invoice_id)
        for attempt in attempts:
            if attempt.payment_id == payment.id and attempt.status == "pending":
                return await self._declined(outcome, outcome.intent_id, attempt) or outcome
        return outcome

    async def _declined(self, now: Outcome, intent_id: str, attempt: Attempt) -> Outcome | None:
        """The attempt's decline by its charge; None: it has no charge that failed."""
        async with self._database.tenant(attempt.account_id) as connection:
            earlier = await store.charges_on_record(connection, attempt.invoice_id)
        card = (await self._chosen(attempt)).card
        for charge in await self._provider.charges(intent_id):
            is_own_card = card is not None and charge.payment_method_id == card
            apart = _CLOCKS_FAR_APART if is_own_card else _CLOCKS_APART
            is_before = charge.created_at < attempt.real_started_at - apart
            if is_before or charge.charge_id in earlier:
                continue
            if charge.decline is not None:
                said = {"kind": "declined", "decline": charge.decline}
                return now.model_copy(update={**said, "charge_id": charge.charge_id})
        return None

    async def _chosen(self, attempt: Attempt) -> store.AttemptCard:
        """The card to try, if the attempt is still undecided: a worker may wake up late."""
        async with self._database.tenant(attempt.account_id) as connection:
            chosen = await store.card_of(connection, attempt.key)
        if chosen is None or chosen.method_id is None:
            raise Conflict("NO_ATTEMPT", "a card is tried only for an attempt on record")
        if chosen.status != "pending":
            # Asked again, the step finds itself done.
            raise Unavailable("ATTEMPT_DECIDED", "another worker has decided this attempt")
        return chosen


def _behind_page(session: CheckoutSession, outcome: Outcome) -> Outcome:
    """The standing of a page's intent: on a page that is done nobody tries again.

    It was left to a bank: that decides, also while it waits for its payer to name the amounts that
    it sent, and Stripe cancels no such intent; or it has said no since, as one does after days.
    """
    if session.status != "complete":
        return outcome
    if outcome.kind == "action":
        return outcome.model_copy(update={"kind": "processing"})
    return outcome.model_copy(update={"is_over": True}) if outcome.kind == "declined" else outcome


def _metadata(payment: Payment) -> dict[str, str]:
    return {
        "account": ids.encode(ids.ACCOUNT, payment.account_id),
        "matter": payment.workflow_id,
        "payment": ids.encode(ids.PAYMENT, payment.id),
        "invoice": ids.encode(ids.INVOICE, payment.invoice_id),
    } | correlated()


def correlated() -> dict[str, str]:
    """The request that caused a call, for whoever looks at Stripe.

    A refund has none: under its key another request's id would be another refund, and refused.
    """
    known = context.correlation_id.get()
    return {"correlation_id": known} if known else {}


def harmless_key(key: str) -> str:
    """The key of a call that takes no money: a stored 500 is passed by with a new one."""
    number = tries()
    return key if number <= SAME_KEY_TRIES else f"{key}/again-{number}"


@contextmanager
def _doubting_a_key() -> Iterator[None]:
    """In doubt about a call whose key was used before with other parameters: it may still run.

    A payment that changed hands names another matter in its metadata, and a release may confirm
    otherwise than the one before. The next try looks for what the first one has made; a harmless
    call behind SAME_KEY_TRIES takes another key.
    """
    try:
        yield
    except ProviderFailure as refused:
        if refused.code != KEY_REUSED:
            raise
        raise Unavailable(refused.code, refused.detail) from refused
