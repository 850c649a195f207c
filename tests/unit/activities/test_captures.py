"""An order is looked at, captured by a call of its own, and called back once no capture can run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from activities import order_calls
from activities.dependencies import Dependencies
from activities.order_calls import CAPTURE_RUNS_FOR, Orders
from billing.core.clock import real_now
from billing.core.errors import Unavailable
from billing.money.payments.rules import Order, Outcome
from billing.money.payments.schemas import PAYPAL, Payment

PAID = Outcome(kind="succeeded", intent_id="cap_1", received_minor=999)
NOW = real_now() - timedelta(days=1)
"""By the database; the clock of the worker is a day ahead."""
ORDER: Any = {
    "flow": PAYPAL, "intent_key": "inv_1/intent-1", "stripe_checkout_session_id": "order_1",
}  # fmt: skip


class Provider:
    """One order that its payer has approved."""

    captured = False
    status: Literal["open", "approved", "gone"] = "approved"

    async def retrieve_order(self, order_id: str) -> Order:
        if self.captured:
            return Order(order_id=order_id, status="captured", capture=PAID)
        return Order(order_id=order_id, status=self.status)

    async def capture_order(self, order_id: str, _: str) -> Order:
        self.captured = True
        return await self.retrieve_order(order_id)


class Databases:
    """One whose clock, by which captures are noted, stands."""

    @asynccontextmanager
    async def tenant_statement(self) -> AsyncIterator[AsyncConnection]:
        yield cast(AsyncConnection, None)


@pytest.fixture(autouse=True)
def clock_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    async def database_now(_: AsyncConnection) -> datetime:
        return NOW

    monkeypatch.setattr(order_calls, "database_now", database_now)


def orders_of(provider: Any) -> Orders:
    return Orders(
        Dependencies(database=Databases(), settings=None, provider=None, orders=provider)  # type: ignore[arg-type]
    )


def asked(ago: timedelta) -> Payment:
    """A payment whose capture was noted so long ago."""
    return Payment.model_construct(**ORDER, capture_asked_at=NOW - ago)


async def test_a_look_takes_no_money() -> None:
    provider = Provider()
    orders, payment = orders_of(provider), Payment.model_construct(**ORDER)
    _, found = await orders.look(payment)
    assert (found, provider.captured) == (Outcome(kind="waiting", is_approved=True), False)
    assert (await orders.capture(payment), provider.captured) == (PAID, True)


async def test_an_order_is_not_given_up_while_a_capture_without_an_answer_may_run() -> None:
    provider = Provider()
    orders, payment = orders_of(provider), asked(timedelta(seconds=20))
    with pytest.raises(Unavailable, match="PROVIDER_NOT_CANCELED"):
        await orders.call_back(payment)
    provider.captured = True
    assert await orders.call_back(payment) == PAID


@pytest.mark.parametrize("status", ["open", "gone"])
async def test_an_order_that_cannot_be_captured_any_more_is_given_up_at_once(status: Any) -> None:
    provider = Provider()
    provider.status = status
    outcome = await orders_of(provider).call_back(asked(timedelta(seconds=20)))
    assert outcome.kind == "canceled"


async def test_an_order_is_given_up_once_its_capture_is_over_or_was_never_asked_for() -> None:
    orders = orders_of(Provider())
    for payment in (asked(CAPTURE_RUNS_FOR), Payment.model_construct(**ORDER)):
        assert (await orders.call_back(payment)).kind == "canceled"
