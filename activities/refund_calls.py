"""Giving money back through the provider, once: what may be there already is looked for first."""

from temporalio import activity

from activities.matter import Dependencies
from activities.order_calls import Orders
from activities.payment_calls import SAME_KEY_TRIES
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import Conflict, ProviderFailure
from billing.core.failpoints import failpoint
from billing.money.payments.schemas import PAYPAL, Payment
from billing.money.refunds.calls import RefundAnswer, RefundCall, SurveyAnswer, SurveyCall
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.refunds.schemas import Refund
from gateways.provider import Refunding, RefundRequest


class Refunder:
    """Makes refunds and looks where they stand; a collaborator of the activities."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._provider = dependencies.provider
        self._orders = Orders(dependencies)

    async def make(self, call: RefundCall) -> RefundAnswer:
        """The provider's word; a refusal proves that nothing was made. Errors: Unavailable."""
        asked_at = real_now()
        try:
            return RefundAnswer(call, await self._ask(call), asked_at)
        except ProviderFailure as refused:
            await failpoint("refund.refused")
            return RefundAnswer(call, None, asked_at, refusal=refused.detail)

    async def look(self, call: SurveyCall) -> SurveyAnswer:
        """All that was taken back of the payment. Errors: Unavailable, ProviderFailure."""
        asked_at = real_now()
        intent_id = call.payment.stripe_payment_intent_id
        if intent_id is None:
            return SurveyAnswer(call, Taken(), asked_at)
        return SurveyAnswer(call, await self._of(call.payment).taken_back(intent_id), asked_at)

    def _of(self, payment: Payment) -> Refunding:
        return self._orders.provider if payment.flow == PAYPAL else self._provider

    async def _ask(self, call: RefundCall) -> RefundOutcome:
        refund, payment = call.refund, call.payment
        provider = self._of(payment)
        intent_id = payment.stripe_payment_intent_id
        if intent_id is None:
            raise Conflict("PAYMENT_STATE", "only a payment at the provider can be given back")
        name = ids.encode(ids.REFUND, refund.id)
        if call.again or activity.info().attempt > 1:
            taken = await provider.taken_back(intent_id)
            made = next((one for one in taken.refunds if one.name == name), None)
            if made is not None:
                return made
        await failpoint("refund.before_call")
        outcome = await provider.refund(
            RefundRequest(
                key=_key(refund, payment),
                intent_id=intent_id,
                amount_minor=refund.amount_minor,
                currency=refund.currency,
                metadata={
                    "account": ids.encode(ids.ACCOUNT, refund.account_id),
                    "payment": ids.encode(ids.PAYMENT, refund.payment_id),
                    "refund": name,
                },
            )
        )
        await failpoint("refund.made")
        return outcome


def _key(refund: Refund, payment: Payment) -> str:
    """A stored 500 under the key is passed by with a new one, once a look has found no refund.

    Only where the whole payment goes back: the provider cannot give that twice.
    """
    tries, whole = activity.info().attempt, refund.amount_minor == payment.received_minor
    return f"{refund.key}/again-{tries}" if whole and tries > SAME_KEY_TRIES else refund.key
