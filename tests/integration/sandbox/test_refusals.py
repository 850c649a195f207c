"""The endive version refuses old parameters, with Stripe's sentences."""

import secrets
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import stripe

from billing.core import ids
from billing.core.errors import ProviderFailure, Unavailable
from gateways.provider import IntentRequest
from gateways.stripe import StripeGateway
from sandbox.control import SandboxControl
from tests.integration.sandbox.support import Process, client_for, refused

PRICE = {"amount": 999, "currency": "usd"}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"payment_method_types": ["card"]}, "payment_method_types_no_longer_supported",
         "payment_method_types"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"automatic_payment_methods": {"enabled": True, "colour": "red"}}, "parameter_unknown",
         "automatic_payment_methods[colour]"),
        ({"automatic_payment_methods": {"allow_redirects": "never"}}, "parameter_missing",
         "automatic_payment_methods[enabled]"),
        ({"amount": "ten"}, "parameter_invalid_integer", "amount"),
        ({"amount": 9.99}, "parameter_invalid_integer", "amount"),
        ({"currency": ""}, "parameter_invalid_empty", "currency"),
        ({"currency": "dollars"}, None, "currency"),
        ({"capture_method": "sometimes"}, None, "capture_method"),
        ({"confirm": "perhaps"}, None, "confirm"),
        ({"metadata": {"k" * 41: "v"}}, None, "metadata[" + "k" * 41 + "]"),
        ({"metadata": {f"k{n}": "v" for n in range(51)}}, None, "metadata"),
        ({"allowed_payment_method_types": "card"}, None, "allowed_payment_method_types"),
        ({"off_session": True}, None, "off_session"),
        ({"return_url": "https://shop.example"}, None, "return_url"),
        ({"payment_method": "pm_nothing"}, "resource_missing", "payment_method"),
        ({"expand": ["nothing"]}, None, "expand"),
    ],
)  # fmt: skip
async def test_a_payment_intent_with_a_wrong_parameter_is_refused_and_not_made(
    v1: Any, customer: str, params: dict[str, Any], code: str | None, param: str
) -> None:
    error = await refused(
        v1.payment_intents.create_async({**PRICE, "customer": customer, **params})
    )
    assert (error.http_status, error.code, error.param) == (400, code, param)
    assert (await v1.payment_intents.list_async({"customer": customer})).data == []


@pytest.mark.parametrize("missing", ["amount", "currency"])
async def test_what_must_be_there_is_missed(v1: Any, missing: str) -> None:
    params = {name: value for name, value in PRICE.items() if name != missing}
    error = await refused(v1.payment_intents.create_async(params))
    assert (error.code, error.param) == ("parameter_missing", missing)


async def test_the_old_parameter_is_refused_on_confirming_and_setting_up_too(
    v1: Any, customer: str
) -> None:
    made = await v1.payment_intents.create_async(PRICE)
    old = {"payment_method_types": ["card"]}
    for call in (
        v1.payment_intents.confirm_async(made.id, old),
        v1.payment_intents.update_async(made.id, old),
        v1.setup_intents.create_async(old),
    ):
        assert (await refused(call)).code == "payment_method_types_no_longer_supported"


async def test_a_secret_key_does_not_send_a_client_secret(v1: Any) -> None:
    made = await v1.payment_intents.create_async(PRICE)
    error = await refused(
        v1.payment_intents.confirm_async(made.id, {"client_secret": made.client_secret})
    )
    assert error.code == "parameter_unknown"


@pytest.mark.parametrize(
    "key", ["sk_live_abc", "rk_live_abc", "pk_live_abc", "nonsense", "pk_test_abc"]
)
async def test_live_foreign_and_publishable_keys_do_nothing(sandbox: Process, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as caught:
        await client_for(sandbox.url, key).v1.customers.create_async({})
    if "live" in key:
        assert "refuses live keys" in str(caught.value)
    if key == "pk_test_abc":
        assert caught.value.error is not None
        assert caught.value.error.code == "secret_key_required"


async def test_a_browser_needs_the_right_client_secret(v1: Any, sandbox: Process) -> None:
    made = await v1.payment_intents.create_async(PRICE)
    browser = client_for(sandbox.url, "pk_test_abc").v1
    secret = {"client_secret": made.client_secret}
    found = await browser.payment_intents.retrieve_async(made.id, secret)  # type: ignore[arg-type]
    assert found.id == made.id
    wrong: Any = {"client_secret": "pi_wrong"}
    assert (
        await refused(browser.payment_intents.retrieve_async(made.id, wrong))
    ).http_status == 404
    paying: Any = {**secret, "payment_method": "pm_card_visa"}
    assert (await browser.payment_intents.confirm_async(made.id, paying)).status == "succeeded"


async def test_another_api_version_is_refused(v1: Any) -> None:
    error = await refused(v1.customers.create_async({}, {"stripe_version": "2023-10-16"}))
    assert "2026-10-28.endive only" in str(error)


async def test_no_key_and_unknown_paths_get_stripes_kind_of_answer(sandbox: Process) -> None:
    async with httpx2.AsyncClient(trust_env=False, base_url=sandbox.url) as http:
        answer = await http.get("/v1/customers")
        assert answer.status_code == 401
        assert "did not provide an API key" in answer.json()["error"]["message"]
        for path in ("/v1/payment_intents/", "/v1/subscriptions", "/v2/billing/meter_events"):
            answer = await http.get(path)
            assert answer.status_code == 404
            assert "Unrecognized request URL" in answer.json()["error"]["message"]
        answer = await http.put("/v1/customers")
        assert answer.status_code == 404
        assert answer.headers["Request-Id"].startswith("req_")
        for key, status in (("sk_test_x", 200), ("sk_live_x", 401)):
            answer = await http.get("/v1/customers", auth=(key, ""))
            assert answer.status_code == status


@pytest.mark.parametrize(
    "body", ["a[=1", "a[b=1", "a=1&a[b]=2", "[x]=1", "a[b]c]=1", "amount[x]=1"]
)
async def test_a_broken_form_is_a_400(sandbox: Process, body: str) -> None:
    headers = {
        "Authorization": "Bearer sk_test_x",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with httpx2.AsyncClient(trust_env=False, base_url=sandbox.url) as http:
        answer = await http.post("/v1/payment_intents", content=body, headers=headers)
    assert answer.status_code == 400


async def test_every_refusal_is_in_the_journal(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    call = v1.payment_intents.create_async({**PRICE, "customer": customer, "colour": "red"})
    await refused(call)
    *_, row = await control.requests(customer=customer)
    assert (row["status"], row["code"]) == (400, "parameter_unknown")
    assert row["params"]["colour"] == "red"


async def test_a_gateway_says_whether_its_key_is_refused(sandbox: Process) -> None:
    for key, refuses in (("sk_live_of_somebody_else", True), ("sk_test_sandbox", False)):
        gateway = StripeGateway(key, sandbox.url)
        with suppress(Unavailable):
            await gateway.create_customer(ids.new(), secrets.token_hex(8), {})
        assert gateway.refuses_key is refuses, key
        await gateway.close()


async def test_a_gateway_says_that_its_key_knows_none_of_our_objects(sandbox: Process) -> None:
    """That of another account, or of the other mode, is accepted, and may do everything."""
    gateway = StripeGateway("sk_test_sandbox", sandbox.url)
    known = await gateway.create_customer(ids.new(), secrets.token_hex(8), {})
    assert not await gateway.customer_is_deleted(known)
    assert (gateway.refuses_key, gateway.unknown_object) == (False, None)
    assert not await gateway.customer_is_deleted("cus_of_nobody")
    with pytest.raises(ProviderFailure):
        await gateway.retrieve_intent("pi_of_nobody")
    assert not await gateway.customer_is_deleted(known), "one that it has made itself"
    assert (gateway.refuses_key, gateway.unknown_object) == (True, "cus_of_nobody")
    await gateway.close()


async def test_a_gateway_says_whether_its_key_lacks_a_right(
    sandbox: Process, control: SandboxControl
) -> None:
    gateway, ours = StripeGateway("sk_test_sandbox", sandbox.url), {"account": secrets.token_hex(8)}

    async def refuses() -> bool:
        with suppress(Unavailable):
            await gateway.create_customer(ids.new(), secrets.token_hex(8), ours)
        return gateway.refuses_key

    denied = await control.fault("error_403", method="POST", metadata=ours, times=None)
    assert await refuses()
    assert await gateway.retrieve_setup_intent("seti_of_nobody") is None
    assert gateway.refuses_key, "what it may read says nothing of what it may write"
    await control.clear("faults", denied)
    assert not await refuses()
    await gateway.close()


async def test_an_intent_of_the_gateway_needs_no_way_back(sandbox: Process, customer: str) -> None:
    """Stripe refuses to confirm one that may redirect, unless it is sent a `return_url`."""
    gateway = StripeGateway("sk_test_sandbox", sandbox.url)
    made = await gateway.create_intent(
        IntentRequest(
            key=secrets.token_hex(8), amount_minor=999, currency="USD", customer_id=customer,
            description="a pack", metadata={},
        )
    )  # fmt: skip
    intent: Any = await gateway.client.v1.payment_intents.retrieve_async(str(made.intent_id))
    assert intent.automatic_payment_methods.to_dict() == {
        "enabled": True, "allow_redirects": "never",
    }  # fmt: skip
    await gateway.close()
