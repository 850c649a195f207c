"""Webhooks: signed, at least once, in order per customer, and bent by plans."""

import asyncio
import time
from typing import Any

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import SECRET, Process, Receiver, refused, until

PURCHASE = [
    "customer.created",
    "payment_intent.created",
    "payment_method.attached",
    "charge.succeeded",
    "payment_intent.succeeded",
    "charge.updated",
]


async def buy(v1: Any, customer: str) -> Any:
    """A payment that saves its card: five events."""
    return await v1.payment_intents.create_async(
        {
            "amount": 999,
            "currency": "usd",
            "customer": customer,
            "payment_method": "pm_card_visa",
            "setup_future_usage": "off_session",
            "confirm": True,
        }
    )


async def test_a_purchase_tells_its_events_in_order_and_at_once(
    v1: Any, receiver: Receiver, customer: str
) -> None:
    intent = await v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": customer}
    )
    started = time.time()
    await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": f"{customer}/confirm"}
    )
    (paid,) = await receiver.until(customer, "payment_intent.succeeded")
    assert paid.at - started < 5.0
    await receiver.until(customer, "charge.updated")
    wanted = [kind for kind in PURCHASE if kind != "payment_method.attached"]
    assert receiver.types(customer) == wanted
    event = stripe.Webhook.construct_event(paid.body, paid.signature, SECRET)
    assert event.api_version == stripe.api_version
    assert event.request is not None
    assert event.request.idempotency_key == f"{customer}/confirm"
    assert event.data.object.status == "succeeded"
    assert event.pending_webhooks == 1
    (updated,) = await receiver.until(customer, "charge.updated")
    assert updated.event["data"]["previous_attributes"] == {"balance_transaction": None}


async def test_a_signature_holds_for_its_body_and_secret_only(
    v1: Any, receiver: Receiver, customer: str
) -> None:
    (posting,) = await receiver.until(customer, "customer.created")
    stripe.Webhook.construct_event(posting.body, posting.signature, SECRET)
    for body, secret in ((posting.body + " ", SECRET), (posting.body, "whsec_other")):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, posting.signature, secret)


async def test_a_refused_event_comes_again_with_the_same_id(
    v1: Any, receiver: Receiver, customer: str
) -> None:
    await receiver.until(customer, "customer.created")
    receiver.refuse.add(customer)
    made = await v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": customer}
    )
    await receiver.until(customer, "payment_intent.created", 2)
    waiting = await v1.events.list_async(
        {"delivery_success": False, "types": ["payment_intent.created"]}
    )
    assert made.id in [event.data.object.id for event in waiting.data]
    receiver.refuse.discard(customer)
    await receiver.until(customer, "payment_intent.created", 3)
    ids = {posting.event["id"] for posting in receiver.of(customer)[1:]}
    assert len(ids) == 1

    async def settled() -> bool:
        event = await v1.events.retrieve_async(ids.copy().pop())
        return bool(event.pending_webhooks == 0)

    assert await until(settled)


async def test_a_failing_event_does_not_hold_up_the_next(
    v1: Any, receiver: Receiver, control: SandboxControl
) -> None:
    receiver.refuse.add("cus_failing")
    subject = {"id": "pi_x", "object": "payment_intent", "customer": "cus_failing"}
    await control.emit("payment_intent.created", subject)
    await receiver.until("cus_failing", "payment_intent.created")
    await control.emit("payment_intent.canceled", subject)
    await receiver.until("cus_failing", "payment_intent.canceled")
    receiver.refuse.discard("cus_failing")


async def test_dropped_events_never_arrive_but_can_be_polled(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    await receiver.until(customer, "customer.created")
    plan = await control.webhooks("drop", customer=customer)
    intent = await buy(v1, customer)
    await asyncio.sleep(0.3)
    assert receiver.types(customer) == ["customer.created"]
    polled = await v1.events.list_async(
        {"delivery_success": False, "created": {"gte": intent.created}, "limit": 100}
    )
    mine = [e.type for e in polled.data if e.data.object.to_dict().get("customer") == customer]
    assert sorted(mine) == sorted(PURCHASE[1:])
    await control.clear("webhooks", plan)


async def test_events_can_be_doubled(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    await control.webhooks(
        "duplicate", customer=customer, types=["payment_intent.*"], copies=5, times=1
    )
    await buy(v1, customer)
    doubled = await receiver.until(customer, "payment_intent.created", 6)
    assert len({posting.event["id"] for posting in doubled}) == 1
    assert len(await receiver.until(customer, "payment_intent.succeeded")) == 1


async def test_events_can_be_late(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    await control.webhooks("delay", customer=customer, types=["charge.succeeded"], seconds=1)
    started = time.time()
    await buy(v1, customer)
    (late,) = await receiver.until(customer, "charge.succeeded")
    assert late.at - started > 0.9
    assert receiver.types(customer)[-1] == "charge.succeeded"


@pytest.mark.parametrize("order", ["reverse", "shuffle", "named"])
async def test_held_events_are_released_in_the_order_asked_for(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str, order: str
) -> None:
    await receiver.until(customer, "customer.created")
    await control.webhooks("hold", customer=customer)
    await buy(v1, customer)
    held = await control.deliveries(customer=customer, state="held")
    assert [row["type"] for row in held] == PURCHASE[1:]
    named = [held[place]["event"] for place in (3, 0, 4, 2, 1)]
    if order == "named":
        assert await control.release(customer=customer, events=named) == 5
    else:
        assert await control.release(customer=customer, order=order, seed=3) == 5

    async def all_here() -> bool:
        return len(receiver.of(customer)) == 6

    await until(all_here)
    arrived = [posting.event["id"] for posting in receiver.of(customer)[1:]]
    created = [row["event"] for row in held]
    assert sorted(arrived) == sorted(created)
    expected = {"reverse": created[::-1], "named": named}.get(order)
    assert arrived == expected if expected else arrived != created


async def test_a_window_of_disorder_mixes_events_by_its_seed(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    await receiver.until(customer, "customer.created")
    await control.webhooks("shuffle", customer=customer, seconds=0.3, seed=11)
    await buy(v1, customer)

    async def all_here() -> bool:
        return len(receiver.of(customer)) == 6

    await until(all_here)
    assert receiver.types(customer)[1:] != PURCHASE[1:]


async def test_an_old_event_can_be_posted_again(
    v1: Any, receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    (first,) = await receiver.until(customer, "customer.created")
    await control.redeliver(first.event["id"], copies=2)
    again = await receiver.until(customer, "customer.created", 3)
    assert {posting.body for posting in again} == {first.body}


async def test_events_nothing_caused_can_be_sent(
    receiver: Receiver, control: SandboxControl, customer: str
) -> None:
    subject = {"id": "xx_1", "object": "new_thing", "customer": customer}
    await control.emit("new_thing.invented", subject, api_version="2023-10-16")
    (posting,) = await receiver.until(customer, "new_thing.invented")
    assert posting.event["api_version"] == "2023-10-16"


async def test_events_are_listed_by_type_and_by_pattern(v1: Any, customer: str) -> None:
    intent = await buy(v1, customer)

    async def mine(**params: Any) -> list[str]:
        listed = await v1.events.list_async({"limit": 100, **params})
        return [e.type for e in listed.data if intent.id in str(e.data)]

    assert await mine(type="payment_intent.succeeded") == ["payment_intent.succeeded"]
    assert await mine(type="charge.*") == ["charge.updated", "charge.succeeded"]
    types = ["payment_intent.created", "charge.updated"]
    assert await mine(types=types) == ["charge.updated", "payment_intent.created"]
    error = await refused(v1.events.list_async({"type": "a", "types": ["b"]}))
    assert error.code == "parameters_exclusive"


async def test_after_a_kill_open_events_are_still_delivered(
    tmp_path: Any, receiver: Receiver
) -> None:
    process = Process(tmp_path, receiver.url, more={"SANDBOX_CONFORMANCE": "0"})
    process.start()
    client = stripe.StripeClient(
        "sk_test_x", base_addresses={"api": process.url},
        http_client=stripe.AIOHTTPClient(timeout=5),
    )  # fmt: skip
    made = await client.v1.customers.create_async({})
    await receiver.until(made.id, "customer.created")
    receiver.refuse.add(made.id)
    await client.v1.customers.update_async(made.id, {"name": "Eve"})
    await receiver.until(made.id, "customer.updated")
    process.stop(9)
    receiver.refuse.discard(made.id)
    seen = len(receiver.of(made.id))
    process.start()
    await receiver.until(made.id, "customer.updated", seen)
    kept = await client.v1.customers.retrieve_async(made.id)
    assert kept.name == "Eve"
    process.stop()
