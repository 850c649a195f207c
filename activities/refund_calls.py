"""Refunds at the provider, each made once: a retry first looks for an existing refund."""

from activities.dependencies import Dependencies
from activities.order_calls import Orders
from activities.tries import SAME_KEY_TRIES, doubting_a_key, doubting_a_look, tries
from billing.core import ids, keys
from billing.core.clock import real_now
from billing.core.errors import Conflict, ProviderFailure, Unavailable
from billing.core.failpoints import failpoint
from billing.money.payments.schemas import PAYPAL, Payment
from billing.money.refunds.calls import RefundAnswer, RefundCall, SurveyAnswer, SurveyCall
from billing.money.refunds.rules import RefundOutcome, Taken
from gateways.provider import FAILURE_KEPT, Refunding, RefundRequest


class Refunder:
    """The activities' calls that make refunds and look up their status."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._provider = dependencies.provider
        self._orders = Orders(dependencies)

    async def make(self, call: RefundCall) -> RefundAnswer:
        """Make the refund; a refusal proves that none was made. Errors: Unavailable."""
        asked_at = real_now()
        try:
            # What was called before may have made the refund: the next try looks for it, and makes
            # it once the provider has forgotten the key.
            with doubting_a_key():
                return RefundAnswer(call, await self._ask(call), asked_at)
        except ProviderFailure as refused:
            await failpoint("refund.refused")
            return RefundAnswer(call, None, asked_at, refusal=refused.detail)

    async def look(self, call: SurveyCall) -> SurveyAnswer:
        """Return the payment's refunds and disputes. Errors: Unavailable."""
        asked_at = real_now()
        intent_id = call.payment.stripe_payment_intent_id
        if intent_id is None:
            return SurveyAnswer(call, Taken(), asked_at)
        return SurveyAnswer(call, await self._taken_back(call.payment, intent_id), asked_at)

    def _of(self, payment: Payment) -> Refunding:
        return self._orders.provider if payment.flow == PAYPAL else self._provider

    async def _ask(self, call: RefundCall) -> RefundOutcome:
        intent_id = call.payment.stripe_payment_intent_id
        if intent_id is None:
            raise Conflict("PAYMENT_STATE", "only a payment at the provider can be refunded there")
        if call.again or tries() > 1:
            made = await self._made(call, intent_id)
            if made is not None:
                return made
        await failpoint("refund.before_call")
        outcome = await self._walk(call, intent_id)
        await failpoint("refund.made")
        return outcome

    async def _walk(self, call: RefundCall, intent_id: str) -> RefundOutcome:
        """Request the refund under each of its keys in turn, until one call is decided.

        The refund is never made twice. A key is abandoned only if the provider has repeated the
        failure that it stores under it (Stripe does for a day), so that no call with that key has
        an effect any more, and if a later lookup has found no refund. After any other failure, and
        while a call may still run, the key stays. Every try begins with a lookup and uses the same
        keys in the same sequence.
        """
        number = 1
        while True:
            try:
                return await self._of(call.payment).refund(_request(call, intent_id, number))
            except Unavailable as doubt:
                patient = tries() <= SAME_KEY_TRIES
                if patient or doubt.code != FAILURE_KEPT or number == keys.REFUND_TRIES:
                    raise
            made = await self._made(call, intent_id)
            if made is not None:
                return made
            number += 1

    async def _made(self, call: RefundCall, intent_id: str) -> RefundOutcome | None:
        """Return the refund if the provider has it, found by our id. Errors: Unavailable."""
        taken = await self._taken_back(call.payment, intent_id)
        name = ids.encode(ids.REFUND, call.refund.id)
        return next((one for one in taken.refunds if one.name == name), None)

    async def _taken_back(self, payment: Payment, intent_id: str) -> Taken:
        with doubting_a_look():
            return await self._of(payment).taken_back(intent_id)


def _request(call: RefundCall, intent_id: str, number: int) -> RefundRequest:
    refund = call.refund
    return RefundRequest(
        key=keys.refund_try(refund.key, number),
        intent_id=intent_id,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        metadata={
            "account": ids.encode(ids.ACCOUNT, refund.account_id),
            "payment": ids.encode(ids.PAYMENT, refund.payment_id),
            "refund": ids.encode(ids.REFUND, refund.id),
        },
    )
