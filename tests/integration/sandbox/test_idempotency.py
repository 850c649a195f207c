"""Idempotency keys: one effect and one answer per key, for a day."""

import asyncio
from typing import Any

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import declined, refused, struck


def charge(customer: str, **more: Any) -> dict[str, Any]:
    """Parameters that charge at once."""
    return {
        "amount": 999,
        "currency": "usd",
        "customer": customer,
        "payment_method": "pm_card_visa",
        "confirm": True,
        **more,
    }


async def charges(control: SandboxControl, customer: str) -> int:
    """Number of times that money moved for a customer."""
    return len(await control.effects(customer=customer, name="charge.succeeded"))


async def test_a_repeated_key_gives_the_first_answer_and_charges_once(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    options = {"idempotency_key": f"{customer}/once"}
    first = await v1.payment_intents.create_async(charge(customer), options)
    again = await v1.payment_intents.create_async(charge(customer), options)
    assert again.to_dict() == first.to_dict()
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.idempotency_key == f"{customer}/once"
    assert again.last_response.request_id.startswith("req_")
    assert again.last_response.request_id != first.last_response.request_id
    assert await charges(control, customer) == 1
    replayed = [row["replayed"] for row in await control.requests(key=f"{customer}/once")]
    assert replayed == [False, True]


async def test_the_order_of_parameters_does_not_matter_but_their_values_do(
    v1: Any, customer: str
) -> None:
    options = {"idempotency_key": f"{customer}/order"}
    params = charge(customer)
    await v1.payment_intents.create_async(params, options)
    await v1.payment_intents.create_async(dict(reversed(params.items())), options)
    for call in (
        v1.payment_intents.create_async(charge(customer, amount=1000), options),
        v1.customers.create_async({}, options),
    ):
        with pytest.raises(stripe.IdempotencyError) as caught:
            await call
        assert caught.value.http_status == 400
        assert "Keys for idempotent requests" in str(caught.value)


async def test_a_decline_is_kept_under_its_key(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    await control.script(card.id, "insufficient_funds", "succeed")
    params = charge(customer, payment_method=card.id)
    options = {"idempotency_key": f"{customer}/declined"}
    first = await declined(v1.payment_intents.create_async(params, options))
    again = await declined(v1.payment_intents.create_async(params, options))
    assert again.payment_intent.id == first.payment_intent.id
    assert await charges(control, customer) == 0
    fresh = await v1.payment_intents.create_async(params)
    assert fresh.status == "succeeded"


async def test_refused_parameters_are_not_kept(v1: Any, customer: str) -> None:
    options = {"idempotency_key": f"{customer}/refused"}
    await refused(v1.payment_intents.create_async(charge(customer, amount=1), options))
    mended = await v1.payment_intents.create_async(charge(customer), options)
    assert mended.status == "succeeded"


async def test_a_key_in_use_is_a_conflict(v1: Any, control: SandboxControl, customer: str) -> None:
    plan = await control.fault("slow", path="/v1/payment_intents", customer=customer, seconds=1)
    options = {"idempotency_key": f"{customer}/busy"}
    slow = asyncio.create_task(v1.payment_intents.create_async(charge(customer), options))
    await struck(control, plan)
    with pytest.raises(stripe.APIError) as caught:
        await v1.payment_intents.create_async(charge(customer), options)
    assert caught.value.http_status == 409
    assert caught.value.error is not None
    assert caught.value.error.code == "idempotency_key_in_use"
    assert (await slow).status == "succeeded"
    assert await charges(control, customer) == 1


async def test_a_key_is_forgotten_after_a_day(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    options = {"idempotency_key": f"{customer}/old"}
    first = await v1.payment_intents.create_async(charge(customer), options)
    await control.age_keys(23)
    assert (await v1.payment_intents.create_async(charge(customer), options)).id == first.id
    await control.age_keys(2)
    assert (await v1.payment_intents.create_async(charge(customer), options)).id != first.id
    assert await charges(control, customer) == 2


async def test_a_key_has_at_most_255_characters(v1: Any) -> None:
    error = await refused(v1.customers.create_async({}, {"idempotency_key": "k" * 256}))
    assert "255 characters" in str(error)


async def test_fifty_requests_with_one_key_charge_once(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    options = {"idempotency_key": f"{customer}/many"}
    calls = [v1.payment_intents.create_async(charge(customer), options) for _ in range(50)]
    assert len({intent.id for intent in await asyncio.gather(*calls)}) == 1
    assert await charges(control, customer) == 1
