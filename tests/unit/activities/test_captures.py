"""An order is captured once its payer approved it, while what it pays for is owed."""

from typing import Any

import pytest

from activities.dependencies import Dependencies
from activities.order_calls import Orders
from billing.money.payments.rules import Order, Outcome
from billing.money.payments.schemas import PAYPAL, Payment, PaymentStatus

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


@pytest.mark.parametrize(
    ("status", "may_capture", "captured"),
    [("pending", True, True), ("pending", False, False), ("canceled", True, False)],
)
async def test_it_takes_no_money_that_nobody_asks_for(
    status: PaymentStatus, may_capture: bool, captured: bool
) -> None:
    provider: Any = Provider()
    orders = Orders(Dependencies(database=None, settings=None, provider=None, orders=provider))  # type: ignore[arg-type]
    payment = Payment.model_construct(**ORDER, status=status)
    _, outcome = await orders.look(payment, may_capture=may_capture)
    assert provider.captured == captured
    assert outcome is not None
    assert outcome.kind == ("succeeded" if captured else "waiting")
