"""Payments by an order that its payer approves at the provider: PayPal.

No money moves before our capture, and an order is captured once: to call it back, do not capture.
"""

from datetime import timedelta
from typing import Final

from activities.dependencies import Dependencies
from activities.tries import doubting_a_look
from billing.core import ids
from billing.core.clock import database_now
from billing.core.errors import Unavailable
from billing.core.failpoints import failpoint
from billing.money.payments.rules import CheckoutSession, Order, Outcome
from billing.money.payments.schemas import Payment
from gateways.provider import OrderProvider, OrderRequest

CAPTURE_RUNS_FOR: Final = timedelta(minutes=5)
"""A capture whose answer was lost may take the money at the provider for so long; with a wide
margin, as PayPal names no limit.
"""


class Orders:
    """The activities' calls that open, capture and call back orders."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._provider = dependencies.orders
        self._database = dependencies.database

    @property
    def provider(self) -> OrderProvider:
        """Return the provider of orders. Errors: Unavailable if it has been switched off."""
        if self._provider is None:
            raise Unavailable("PAYPAL_OFF")
        return self._provider

    async def create_page(
        self, payment: Payment, description: str, return_url: str
    ) -> CheckoutSession:
        """Create the order without storing it; the payer's page is its approve link."""
        request = OrderRequest(
            key=payment.intent_key,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            description=description,
            invoice_id=payment.intent_key,
            custom_id=payment.workflow_id,
            return_url=return_url,
        )
        await failpoint("intent.before_create")
        order = await self.provider.create_order(request)
        await failpoint("intent.created")
        return CheckoutSession(session_id=order.order_id, url=order.approve_url, status="open")

    async def look(self, payment: Payment) -> tuple[Payment, Outcome | None]:
        """Return the payment's outcome, as its order has it."""
        await failpoint("check.before_look")
        order_id = payment.stripe_checkout_session_id
        if order_id is None:
            return payment, None
        return payment, _outcome(await self._order(order_id))

    async def capture(self, payment: Payment) -> Outcome | None:
        """Capture the payment's approved order; return the outcome."""
        order_id = payment.stripe_checkout_session_id
        if order_id is None:
            return None
        # A new key each time: the answer stored under an old one may be a refusal that the
        # payer has resolved since. An order cannot be captured twice.
        key = f"{payment.intent_key}/capture-{ids.new().hex}"
        await failpoint("charge.before_confirm")
        order = await self.provider.capture_order(order_id, key)
        await failpoint("charge.confirmed")
        return _outcome(order)

    async def call_back(self, payment: Payment) -> Outcome:
        """Return the capture's outcome if there is one, else `canceled`: no later capture comes.

        Errors: Unavailable, also while a capture that was sent may still run.
        """
        order_id = payment.stripe_checkout_session_id
        if order_id is None:
            return Outcome(kind="canceled")
        order = await self._order(order_id)
        if order.capture is not None:
            return order.capture
        if order.status == "approved" and await self._may_be_captured(payment):
            raise Unavailable("PROVIDER_NOT_CANCELED")
        return Outcome(kind="canceled")

    async def _order(self, order_id: str) -> Order:
        with doubting_a_look():
            return await self.provider.retrieve_order(order_id)

    async def _may_be_captured(self, payment: Payment) -> bool:
        asked_at = payment.capture_asked_at
        if asked_at is None:
            return False
        async with self._database.tenant_statement() as connection:
            return await database_now(connection) < asked_at + CAPTURE_RUNS_FOR


def _outcome(order: Order) -> Outcome:
    if order.capture is not None:
        return order.capture
    if order.status == "gone":
        return Outcome(kind="canceled")
    return Outcome(kind="waiting", is_approved=order.status == "approved")
