"""An order is looked at, and captured by a call of its own."""

from typing import Any

from activities.dependencies import Dependencies
from activities.order_calls import Orders
from billing.money.payments.rules import Order, Outcome
from billing.money.payments.schemas import PAYPAL, Payment

PAID = Outcome(kind="succeeded", intent_id="cap_1", received_minor=999)
ORDER: Any = {
    "flow": PAYPAL, "intent_key": "inv_1/intent-1", "stripe_checkout_session_id": "order_1",
}  # fmt: skip


class Provider:
    """One order that its payer has approved."""

    captured = False

    async def retrieve_order(self, order_id: str) -> Order:
        return Order(order_id=order_id, status="approved")

    async def capture_order(self, order_id: str, _: str) -> Order:
        self.captured = True
        return Order(order_id=order_id, status="captured", capture=PAID)


async def test_a_look_takes_no_money() -> None:
    provider: Any = Provider()
    orders = Orders(Dependencies(database=None, settings=None, provider=None, orders=provider))  # type: ignore[arg-type]
    payment = Payment.model_construct(**ORDER)
    _, found = await orders.look(payment)
    assert (found, provider.captured) == (Outcome(kind="waiting", is_approved=True), False)
    assert (await orders.capture(payment), provider.captured) == (PAID, True)
