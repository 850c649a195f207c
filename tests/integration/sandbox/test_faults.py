"""The fault plan: what goes wrong, whether the effect happened, what a retry finds."""

import asyncio
import time
from typing import Any

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import Process, client_for, struck

KEPT = "replayed"


async def attempt(v1: Any, customer: str, key: str) -> Any:
    """Charge once under a key; gives the intent or the SDK's exception."""
    params = {
        "amount": 999,
        "currency": "usd",
        "customer": customer,
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    try:
        return await v1.payment_intents.create_async(params, {"idempotency_key": key})
    except stripe.StripeError as error:
        return error


@pytest.mark.parametrize(
    ("kind", "error", "effects", "retry_status", "effects_after_retry"),
    [
        ("timeout_before", stripe.APIConnectionError, 0, None, 1),
        ("timeout_after", stripe.APIConnectionError, 1, None, 1),
        ("reset", stripe.APIConnectionError, 0, None, 1),
        ("reset_after", stripe.APIConnectionError, 1, None, 1),
        ("error_403", stripe.PermissionError, 0, None, 1),
        ("error_429", stripe.RateLimitError, 0, None, 1),
        ("conflict_409", stripe.APIError, 0, None, 1),
        ("error_400_stored", stripe.InvalidRequestError, 0, 400, 0),
        ("error_500_unstored", stripe.APIError, 0, None, 1),
        ("error_500_stored", stripe.APIError, 0, 500, 0),
        ("error_500_after", stripe.APIError, 1, 500, 1),
        ("malformed", stripe.APIError, 1, None, 1),
    ],
)
async def test_each_fault_does_what_it_says_and_the_same_key_never_charges_twice(
    v1: Any,
    control: SandboxControl,
    customer: str,
    kind: str,
    error: type[stripe.StripeError],
    effects: int,
    retry_status: int | None,
    effects_after_retry: int,
) -> None:
    async def charged() -> int:
        return len(await control.effects(customer=customer, name="charge.succeeded"))

    await control.fault(kind, customer=customer, path="/v1/payment_intents", seconds=0.3)
    first = await attempt(v1, customer, f"{customer}/1")
    assert isinstance(first, error), first
    assert await charged() == effects
    second = await attempt(v1, customer, f"{customer}/1")
    if retry_status is None:
        assert second.status == "succeeded"
    else:
        assert second.http_status == retry_status
    assert await charged() == effects_after_retry
    faults = [row["fault"] for row in await control.requests(customer=customer) if row["fault"]]
    assert faults == [kind]


async def test_a_timeout_is_the_clients_when_the_sandbox_stays_silent(
    sandbox: Process, control: SandboxControl, customer: str
) -> None:
    impatient = stripe.StripeClient(
        "sk_test_x",
        base_addresses={"api": sandbox.url},
        max_network_retries=0,
        http_client=stripe.AIOHTTPClient(timeout=0.3),
    )
    await control.fault("timeout_after", customer=customer, seconds=30)
    started = time.monotonic()
    gone = await attempt(impatient.v1, customer, f"{customer}/1")
    assert isinstance(gone, stripe.APIConnectionError)
    assert time.monotonic() - started < 15
    assert len(await control.effects(customer=customer)) == 1


async def test_a_slow_answer_holds_up_nobody_else(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    other = await v1.customers.create_async({})
    plan = await control.fault("slow", customer=customer, path="/v1/customers/*", seconds=1)
    slow = asyncio.create_task(v1.customers.retrieve_async(customer))
    await struck(control, plan)
    await v1.customers.retrieve_async(other.id)
    assert not slow.done()
    assert (await slow).id == customer


async def test_a_fault_can_wait_for_the_nth_call_and_hit_several(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    number = await control.fault(
        "error_500_unstored", method="GET", path=f"/v1/customers/{customer}", nth=2, times=2
    )
    seen = []
    for _ in range(5):
        try:
            await v1.customers.retrieve_async(customer)
            seen.append("ok")
        except stripe.APIError:
            seen.append("500")
    assert seen == ["ok", "500", "500", "ok", "ok"]
    (plan,) = [plan for plan in await control.plans("faults") if plan["id"] == number]
    assert (plan["seen"], plan["hits"]) == (5, 2)
    assert await control.clear("faults", number) == 1


async def test_a_fault_finds_its_customer_behind_the_path_and_its_account_in_metadata(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    made = await v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": customer, "metadata": {"account": customer}}
    )
    await control.fault(
        "error_429", path="/v1/payment_intents/*/confirm", metadata={"account": customer}
    )
    with pytest.raises(stripe.RateLimitError):
        await v1.payment_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"})
    paid = await v1.payment_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"


async def test_the_sdk_itself_survives_a_lost_answer_with_its_own_retries(
    sandbox: Process, control: SandboxControl, customer: str
) -> None:
    await control.fault("reset_after", customer=customer, path="/v1/payment_intents")
    client = client_for(sandbox.url)
    intent = await client.v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": customer},
        {"max_network_retries": 1, "idempotency_key": f"{customer}/sdk"},
    )
    listed = await client.v1.payment_intents.list_async({"customer": customer})
    assert [found.id for found in listed.data] == [intent.id]
