"""Time tied to the customer: a frozen clock stamps everything its customer does."""

import time
from typing import Any

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import Receiver, refused, until

DAY = 86_400


async def clocked(v1: Any, frozen_time: int) -> tuple[Any, Any]:
    """A clock and a customer who lives by it."""
    clock = await v1.test_helpers.test_clocks.create_async(
        {"frozen_time": frozen_time, "name": "months"}
    )
    return clock, await v1.customers.create_async({"test_clock": clock.id})


async def advance(v1: Any, clock: str, frozen_time: int) -> Any:
    """Advance and wait until the clock is ready."""
    moving = await v1.test_helpers.test_clocks.advance_async(clock, {"frozen_time": frozen_time})
    assert moving.status == "advancing"
    assert moving.status_details.advancing.target_frozen_time == frozen_time

    async def ready() -> Any:
        found = await v1.test_helpers.test_clocks.retrieve_async(clock)
        return found if found.status == "ready" else None

    return await until(ready)


async def test_a_customer_on_a_clock_stamps_everything_with_its_time(v1: Any) -> None:
    start = int(time.time()) + 100 * DAY
    clock, customer = await clocked(v1, start)
    assert customer.created == start
    arrived = await advance(v1, clock.id, start + 31 * DAY)
    assert arrived.frozen_time == start + 31 * DAY
    intent = await v1.payment_intents.create_async(
        {
            "amount": 4900,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "expand": ["latest_charge.balance_transaction", "payment_method"],
        }
    )
    movement = intent.latest_charge.balance_transaction
    refund = await v1.refunds.create_async({"payment_intent": intent.id})
    stamps = {intent.created, intent.latest_charge.created, movement.created, refund.created}
    assert stamps | {intent.payment_method.created} == {start + 31 * DAY}


async def test_a_clock_only_moves_forward(v1: Any) -> None:
    clock, _ = await clocked(v1, 1_800_000_000)
    error = await refused(
        v1.test_helpers.test_clocks.advance_async(clock.id, {"frozen_time": 1_700_000_000})
    )
    assert error.param == "frozen_time"


async def test_a_clock_tells_its_steps(v1: Any, receiver: Receiver) -> None:
    clock, _ = await clocked(v1, 1_800_000_000)
    await advance(v1, clock.id, 1_800_086_400)

    async def told() -> list[str]:
        mine = [p.event for p in receiver.arrived if p.event["data"]["object"]["id"] == clock.id]
        types = [event["type"].rpartition(".")[2] for event in mine]
        return types if "ready" in types else []

    assert sorted(await until(told)) == ["advancing", "created", "ready"]


async def test_a_checkout_page_expires_by_its_customers_clock(v1: Any, receiver: Receiver) -> None:
    clock, customer = await clocked(v1, 1_800_000_000)
    item = {"currency": "usd", "unit_amount": 999, "product_data": {"name": "Small"}}
    session = await v1.checkout.sessions.create_async(
        {
            "mode": "payment",
            "customer": customer.id,
            "success_url": "https://shop.example/",
            "line_items": [{"price_data": item}],
        }
    )
    assert session.expires_at == 1_800_000_000 + DAY
    await advance(v1, clock.id, 1_800_000_000 + DAY - 1)
    assert (await v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    await advance(v1, clock.id, 1_800_000_000 + DAY)
    assert (await v1.checkout.sessions.retrieve_async(session.id)).status == "expired"


async def test_removing_a_clock_removes_its_customers(v1: Any) -> None:
    clock, customer = await clocked(v1, 1_800_000_000)
    listed = await v1.customers.list_async({"test_clock": clock.id})
    assert [found.id for found in listed.data] == [customer.id]
    others = await v1.customers.list_async({"limit": 100})
    assert customer.id not in [found.id for found in others.data]
    assert (await v1.test_helpers.test_clocks.delete_async(clock.id)).deleted
    assert (await v1.customers.retrieve_async(customer.id)).deleted


async def test_the_control_plane_puts_any_customer_on_a_clock(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    assert (await control.set_clock(customer, 1_900_000_000)).body["status"] == "ready"
    assert (await control.set_clock(customer, 1_900_086_400)).status == 200
    made = await v1.setup_intents.create_async({"customer": customer})
    assert made.created == 1_900_086_400
    assert (await control.set_clock(customer, 1_800_000_000)).status == 400
