"""PayPal's API as it answers, and whatever else may come; against the stand-in where it can."""

import json
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from billing.core.errors import ProviderFailure, Unavailable
from billing.core.paypal_currencies import from_paypal, to_paypal
from billing.money.payments.rules import Order
from gateways.paypal import PayPalGateway, PayPalRefusal
from gateways.provider import KEY_IN_USE, SILENT, OrderRequest, RefundRequest
from gateways.stripe import StripeGateway
from sandbox.paypal_routes import routes
from sandbox.settings import Settings
from worker import refusing

Json = dict[str, Any]
URL = "http://paypal.example"
WANTED = OrderRequest(
    key="inv_1/intent-1", amount_minor=999, currency="EUR", description="100 credits",
    invoice_id="inv_1/intent-1", custom_id="purchase/pur_1", return_url="https://shop.example/b",
)  # fmt: skip


def gateway(transport: httpx2.AsyncBaseTransport) -> PayPalGateway:
    return PayPalGateway("id", "secret", URL, timeout_seconds=1, transport=transport)


def stand_in() -> tuple[PayPalGateway, httpx2.AsyncClient]:
    app = FastAPI()
    app.include_router(routes(Settings(public_url=URL)))
    transport = httpx2.ASGITransport(app=app)
    client = httpx2.AsyncClient(transport=transport, base_url=URL)
    return gateway(transport), client


@pytest.mark.parametrize(
    ("minor", "currency", "value"),
    [
        (999, "USD", "9.99"), (5, "EUR", "0.05"), (100_000_000, "GBP", "1000000.00"),
        (1500, "JPY", "1500"), (17500, "HUF", "175"), (1700, "TWD", "17"),
    ],
)  # fmt: skip
def test_amounts_are_decimal_texts_of_their_currency(minor: int, currency: str, value: str) -> None:
    assert to_paypal(minor, currency) == value
    assert from_paypal(value, currency) == minor


@pytest.mark.parametrize(("minor", "currency"), [(17550, "HUF"), (1701, "TWD"), (100, "INR")])
def test_what_paypal_cannot_take_is_refused(minor: int, currency: str) -> None:
    with pytest.raises(ProviderFailure):
        to_paypal(minor, currency)


async def test_an_order_is_made_once_captured_once_and_given_back_once() -> None:
    paypal, browser = stand_in()
    made = await paypal.create_order(WANTED)
    assert (made.status, made.approve_url) == ("open", f"{URL}/checkoutnow?token={made.order_id}")
    assert await paypal.create_order(WANTED) == made, "the same key, the same order"
    early = await paypal.capture_order(made.order_id, "early")
    assert (early.status, early.capture) == ("open", None)

    page = await browser.get(f"/checkoutnow?token={made.order_id}")
    assert "9.99 EUR" in page.text
    back = await browser.post(f"/checkoutnow?token={made.order_id}")
    assert back.headers["location"].startswith("https://shop.example/b?token=")
    assert (await paypal.retrieve_order(made.order_id)).status == "approved"
    taken = await paypal.capture_order(made.order_id, "one")
    assert taken.capture is not None
    assert (taken.status, taken.capture.kind, taken.capture.received_minor) == (
        "captured", "succeeded", 999,
    )  # fmt: skip
    assert await paypal.capture_order(made.order_id, "two") == taken, "it can be taken once"

    intent_id = taken.capture.intent_id or ""
    wanted = RefundRequest(
        key="ref_1", intent_id=intent_id, amount_minor=400, currency="EUR",
        metadata={"refund": "ref_1"},
    )  # fmt: skip
    given = await paypal.refund(wanted)
    assert (given.status, await paypal.refund(wanted)) == ("succeeded", given)
    assert (await paypal.taken_back(intent_id)).refunds == (given,)
    assert given.name == "ref_1"
    with pytest.raises(ProviderFailure):
        await paypal.refund(wanted.model_copy(update={"key": "ref_2", "amount_minor": 600}))
    again = await paypal.retrieve_order(made.order_id)
    assert again.capture is not None
    assert again.capture.kind == "succeeded", "a refund does not undo what came"
    assert (taken.capture.given_back, again.capture.given_back) == ((), (given,))
    await paypal.close()


async def test_a_reversal_of_what_is_refunded_already_took_nothing_back() -> None:
    paypal, browser = stand_in()
    made = await paypal.create_order(WANTED)
    await browser.post(f"/_sandbox/paypal/orders/{made.order_id}/approve")
    taken = await paypal.capture_order(made.order_id, "one")
    assert taken.capture is not None
    assert taken.capture.intent_id is not None
    reverse = f"/_sandbox/paypal/orders/{made.order_id}/reverse"
    assert (await browser.post(reverse)).status_code == 200
    assert (await browser.post(reverse)).status_code == 422, "nothing is left"
    booked = (await paypal.taken_back(taken.capture.intent_id)).refunds
    assert [one.amount_minor for one in booked] == [999]
    await paypal.close()

    known = await browser.get("/_sandbox/paypal/orders", params={"custom_id": WANTED.custom_id})
    (order,) = known.json()["data"]
    refunds = order["purchase_units"][0]["payments"]["refunds"]
    nothing = {"currency_code": "EUR", "value": "0.00"}
    refunds.append(refunds[0] | {"id": "EMPTY", "amount": nothing})
    (capture,) = order["purchase_units"][0]["payments"]["captures"]

    def told(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith("/token"):
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 900})
        return httpx2.Response(200, json=capture if "/captures/" in path else order)

    again = gateway(httpx2.MockTransport(told))
    assert (await again.taken_back(taken.capture.intent_id)).refunds == booked
    await again.close()


async def test_a_forgotten_order_is_gone_and_a_decline_is_an_outcome() -> None:
    paypal, browser = stand_in()
    assert await paypal.retrieve_order("FORGOTTEN") == Order(order_id="FORGOTTEN", status="gone")
    made = await paypal.create_order(WANTED)
    await browser.put(f"/_sandbox/paypal/orders/{made.order_id}", json={"capture": "refused"})
    await browser.post(f"/_sandbox/paypal/orders/{made.order_id}/approve")
    declined = await paypal.capture_order(made.order_id, "one")
    assert declined.capture is not None
    assert declined.capture.decline is not None
    assert (declined.capture.decline.reason, declined.capture.is_over) == (
        "instrument_declined", False,
    )  # fmt: skip
    assert (await paypal.retrieve_order(made.order_id)).status == "approved"
    assert await paypal.capture_order(made.order_id, "two") == declined, "one refusal, asked twice"
    await browser.put(f"/_sandbox/paypal/orders/{made.order_id}", json={"capture": "declined"})
    await paypal.capture_order(made.order_id, "three")
    assert (await paypal.retrieve_order(made.order_id)).status == "open", "its payer has to act"
    await paypal.close()


async def test_the_stand_in_refuses_to_steer_what_is_not_there() -> None:
    paypal, browser = stand_in()
    path = "/_sandbox/paypal/orders/FORGOTTEN"
    answers = [
        await browser.put(path, json={}),
        await browser.post(f"{path}/approve"),
        await browser.post(f"{path}/settle", json={"status": "DENIED"}),
        await browser.post(f"{path}/reverse"),
        await browser.post(f"{path}/settle", json={"status": "DECLINED"}),
    ]
    assert [one.status_code for one in answers] == [404, 404, 404, 404, 422]
    await paypal.close()


async def test_an_order_whose_time_is_over_brings_no_money() -> None:
    paypal, browser = stand_in()
    made = await paypal.create_order(WANTED)
    await browser.post(f"/_sandbox/paypal/orders/{made.order_id}/approve")
    await browser.put(f"/_sandbox/paypal/orders/{made.order_id}", json={"expired": True})
    gone = Order(order_id=made.order_id, status="gone")
    assert await paypal.capture_order(made.order_id, "one") == gone
    forgotten = await paypal.capture_order("FORGOTTEN", "two")
    assert forgotten == Order(order_id="FORGOTTEN", status="gone")
    await paypal.close()


@pytest.mark.parametrize(
    "issue",
    [
        "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING",
        "PAYER_ACCOUNT_RESTRICTED", "PAYER_ACCOUNT_LOCKED_OR_CLOSED", "COMPLIANCE_VIOLATION",
        "TRANSACTION_BLOCKED_BY_PAYEE", "PAYEE_BLOCKED_TRANSACTION", "A_NEW_ONE",
    ],
)  # fmt: skip
async def test_whatever_else_refuses_a_capture_is_a_decline_of_the_payers(issue: str) -> None:
    paypal, browser = stand_in()
    made = await paypal.create_order(WANTED)
    steer = {"capture": "declined", "issue": issue}
    await browser.put(f"/_sandbox/paypal/orders/{made.order_id}", json=steer)
    await browser.post(f"/_sandbox/paypal/orders/{made.order_id}/approve")
    told = (await paypal.capture_order(made.order_id, "one")).capture
    assert told is not None
    assert told.decline is not None
    assert (told.decline.reason, told.is_over) == (issue.lower(), False)
    await paypal.close()


@pytest.mark.parametrize(
    ("status", "issue"),
    [
        (422, "PAYEE_ACCOUNT_RESTRICTED"), (422, "DUPLICATE_INVOICE_ID"),
        (422, "CURRENCY_NOT_SUPPORTED_FOR_COUNTRY"), (422, "TRANSACTION_RECEIVING_LIMIT_EXCEEDED"),
        (400, "INVALID_STRING_LENGTH"),
    ],
)  # fmt: skip
async def test_the_sellers_own_faults_are_refusals(status: int, issue: str) -> None:
    told = httpx2.Response(status, json={"name": "U", "details": [{"issue": issue}]})
    with pytest.raises(PayPalRefusal) as refused:
        await answered(told)
    assert refused.value.issue == issue


async def answered(*answers: httpx2.Response | Exception) -> list[str]:
    """Requests and end of a capture, with these answers after the token."""
    left, seen = list(answers), []

    def serve(request: httpx2.Request) -> httpx2.Response:
        seen.append(f"{request.method} {request.url.path}")
        if request.url.path == "/v1/oauth2/token":
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 3600})
        told = left.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    paypal = gateway(httpx2.MockTransport(serve))
    try:
        order = await paypal.capture_order("O1", "key")
    except Unavailable as doubt:
        return [*seen, doubt.code]
    return [*seen, order.status]


async def test_doubt_is_told_from_refusal() -> None:
    token, capture = "POST /v1/oauth2/token", "POST /v2/checkout/orders/O1/capture"
    lost = httpx2.ReadTimeout("lost")
    assert await answered(lost) == [token, capture, SILENT]
    assert (await answered(httpx2.Response(409, json={})))[-1] == KEY_IN_USE
    assert (await answered(httpx2.Response(503)))[-1] == "PROVIDER_UNAVAILABLE"
    assert (await answered(httpx2.Response(200, text="<html>")))[-1] == "PROVIDER_UNAVAILABLE"
    done = {"id": "O1", "status": "COMPLETED", "purchase_units": []}
    renewed = await answered(httpx2.Response(401), httpx2.Response(201, json=done))
    assert renewed == [token, capture, token, capture, "captured"]
    twice = httpx2.Response(
        422, json={"name": "U", "details": [{"issue": "ORDER_ALREADY_CAPTURED"}]}
    )
    found = await answered(twice, httpx2.Response(200, content=json.dumps(done)))
    assert found[-2:] == ["GET /v2/checkout/orders/O1", "captured"]


async def test_a_right_that_our_account_lacks_is_named_and_is_no_fault_of_its_credentials() -> None:
    denied = {"name": "NOT_AUTHORIZED", "details": [{"issue": "PERMISSION_DENIED"}]}

    def told(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth2/token"):
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 900})
        return httpx2.Response(403, json=denied)

    paypal = gateway(httpx2.MockTransport(told))
    with pytest.raises(Unavailable) as doubt:
        await paypal.capture_order("O1", "key")
    assert (doubt.value.code, doubt.value.detail) == (
        "PROVIDER_KEY", "PayPal does not allow this to our account: PERMISSION_DENIED",
    )  # fmt: skip
    await paypal.close()


@pytest.mark.parametrize("refusal", [401, 403])
async def test_a_call_that_paypal_denies_us_is_told_until_it_takes_one(refusal: int) -> None:
    """PayPal grants tokens to an app that lacks a right, and may refuse each of them."""
    answers: list[int] = []

    def told(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth2/token"):
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 900})
        return httpx2.Response(answers.pop(0), json={"name": "RESOURCE_NOT_FOUND"})

    paypal, stripe = gateway(httpx2.MockTransport(told)), StripeGateway("sk_test_1", None)
    for status, refused in (
        (404, []), (refusal, ["paypal"]), (503, ["paypal"]), (429, ["paypal"]), (404, []),
    ):  # fmt: skip
        answers[:] = [status, status]
        with suppress(Unavailable, PayPalRefusal):
            await paypal.create_order(WANTED)
        assert refusing(stripe, paypal) == refused, status
    answers[:] = [401, 404]
    with pytest.raises(PayPalRefusal):
        await paypal.create_order(WANTED)
    assert refusing(stripe, paypal) == [], "only its token was revoked"
    await paypal.close()


async def test_what_paypal_lets_us_do_says_nothing_of_what_it_denies() -> None:
    def told(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth2/token"):
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 900})
        is_denied = request.url.path.endswith("/refund")
        return httpx2.Response(403 if is_denied else 404, json={"name": "RESOURCE_NOT_FOUND"})

    paypal, stripe = gateway(httpx2.MockTransport(told)), StripeGateway("sk_test_1", None)
    wanted = RefundRequest(
        key="ref_1", intent_id="C1", amount_minor=400, currency="EUR",
        metadata={"refund": "ref_1"},
    )  # fmt: skip
    with pytest.raises(Unavailable):
        await paypal.refund(wanted)
    await paypal.retrieve_order("O1")
    await paypal.capture_order("O1", "one")
    assert refusing(stripe, paypal) == ["paypal"], "it may read and take, but give nothing back"
    await paypal.close()


async def test_credentials_that_paypal_refuses_are_told_until_it_takes_them() -> None:
    answers = [503, 401, 429, 503, 200, 500]

    def told(request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/oauth2/token"):
            return httpx2.Response(404, json={"name": "RESOURCE_NOT_FOUND"})
        return httpx2.Response(answers.pop(0), json={"access_token": "t", "expires_in": 0})

    paypal, stripe = gateway(httpx2.MockTransport(told)), StripeGateway("sk_test_1", None)
    assert refusing(stripe, paypal) == []
    for refused in ([], ["paypal"], ["paypal"], ["paypal"]):
        with pytest.raises(Unavailable):
            await paypal.create_order(WANTED)
        assert refusing(stripe, paypal) == refused, "trouble at PayPal accepts nothing"
    with pytest.raises(PayPalRefusal):
        await paypal.create_order(WANTED)
    assert refusing(stripe, paypal) == refusing(stripe, None) == []
    with pytest.raises(Unavailable):
        await paypal.create_order(WANTED)
    assert refusing(stripe, paypal) == [], "nor does it refuse them"
