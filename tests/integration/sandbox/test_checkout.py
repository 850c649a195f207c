"""Hosted checkout: through the control plane, and as a person with a browser would."""

import time
from typing import Any

import httpx2
import pytest

from sandbox.control import SandboxControl
from tests.integration.sandbox.support import Process, Receiver, refused

LINES = [
    {
        "price_data": {
            "currency": "usd",
            "unit_amount": 999,
            "product_data": {"name": "Small <pack>"},
        },
        "quantity": 2,
    }
]
BACK = "http://127.0.0.1:1/done?session={CHECKOUT_SESSION_ID}"


async def page(v1: Any, customer: str, **more: Any) -> Any:
    """A hosted page for one payment of 19.98."""
    params = {"mode": "payment", "customer": customer, "line_items": LINES, "success_url": BACK}
    return await v1.checkout.sessions.create_async({**params, **more})


async def test_a_paid_page_is_complete_and_its_intent_carries_our_metadata(
    v1: Any, control: SandboxControl, receiver: Receiver, customer: str
) -> None:
    session = await page(
        v1, customer, metadata={"a": "1"}, client_reference_id="pur_1",
        payment_intent_data={"metadata": {"purchase": "pur_1"}},
    )  # fmt: skip
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert (session.amount_total, session.payment_intent) == (1998, None)
    assert (await control.pay_session(session.id)).status == 200
    done = await v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["payment_intent", "line_items"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.payment_intent.metadata["purchase"] == "pur_1"
    assert done.line_items.data[0].quantity == 2
    assert done.customer_details.email == "ada@example.com"
    await receiver.until(customer, "checkout.session.completed")
    listed = await v1.checkout.sessions.list_async({"payment_intent": done.payment_intent.id})
    assert [found.id for found in listed.data] == [session.id]
    lines = await v1.checkout.sessions.line_items.list_async(session.id, {"limit": 1})
    assert (lines.data[0].amount_total, lines.has_more) == (1998, False)


async def test_a_declined_card_leaves_the_page_open_for_another(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    session = await page(v1, customer)
    declined = await control.fail_session(session.id, "insufficient_funds")
    assert (declined.status, declined.code) == (402, "card_declined")
    open_ = await v1.checkout.sessions.retrieve_async(session.id)
    assert open_.status == "open"
    assert (await control.pay_session(session.id)).status == 200
    charges = await v1.charges.list_async({"payment_intent": open_.payment_intent})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]


async def test_three_d_secure_on_the_page(v1: Any, control: SandboxControl, customer: str) -> None:
    card = "pm_card_threeDSecure2Required"
    session = await page(v1, customer)
    failed = await control.pay_session(session.id, card, authenticate=False)
    assert failed.body["status"] == "open"
    done = await control.pay_session(session.id, card, authenticate=True)
    assert done.body["status"] == "complete"


async def test_an_expired_page_takes_no_money_and_its_intent_is_canceled(
    v1: Any, control: SandboxControl, receiver: Receiver, customer: str
) -> None:
    session = await page(v1, customer)
    await control.fail_session(session.id)
    begun = await v1.checkout.sessions.retrieve_async(session.id)
    error = await refused(v1.payment_intents.cancel_async(begun.payment_intent))
    assert "Checkout Session" in str(error)
    gone = await v1.checkout.sessions.expire_async(session.id)
    assert (gone.status, gone.url) == ("expired", None)
    assert (await control.pay_session(session.id)).status == 400
    intent = await v1.payment_intents.retrieve_async(begun.payment_intent)
    assert intent.status == "canceled"
    assert "can be expired" in str(await refused(v1.checkout.sessions.expire_async(session.id)))
    await receiver.until(customer, "checkout.session.expired")


async def test_a_page_lasts_between_half_an_hour_and_a_day(v1: Any, customer: str) -> None:
    for seconds in (60, 90_000):
        error = await refused(page(v1, customer, expires_at=int(time.time()) + seconds))
        assert error.param == "expires_at"
    session = await page(v1, customer, expires_at=int(time.time()) + 3600)
    assert session.expires_at - session.created == pytest.approx(3600, abs=2)


async def test_saving_a_card_on_a_page(v1: Any, control: SandboxControl, customer: str) -> None:
    session = await v1.checkout.sessions.create_async(
        {
            "mode": "setup",
            "customer": customer,
            "currency": "usd",
            "success_url": BACK,
            "setup_intent_data": {"metadata": {"account": "acc_1"}},
        }
    )
    assert session.payment_status == "no_payment_required"
    done = await control.pay_session(session.id)
    assert done.body["status"] == "complete"
    intent = await v1.setup_intents.retrieve_async(session.setup_intent)
    assert (intent.status, intent.metadata["account"]) == ("succeeded", "acc_1")
    assert len((await v1.customers.payment_methods.list_async(customer)).data) == 1


async def test_what_a_page_cannot_be_is_refused(v1: Any, customer: str) -> None:
    for params, param in (
        ({"mode": "subscription"}, "mode"),
        ({"line_items": []}, "line_items"),
        ({"payment_method_types": ["card"]}, "payment_method_types"),
        ({"ui_mode": "elements"}, "ui_mode"),
        ({"setup_intent_data": {"description": "x"}}, "setup_intent_data"),
        ({"customer_email": "x@example.com"}, None),
    ):
        assert (await refused(page(v1, customer, **params))).param == param


async def test_a_person_pays_in_the_browser(v1: Any, sandbox: Process, customer: str) -> None:
    session = await page(v1, customer, cancel_url="http://127.0.0.1:1/cart")
    async with httpx2.AsyncClient(trust_env=False, base_url=sandbox.url) as browser:
        shown = await browser.get(session.url)
        assert "19.98 USD" in shown.text
        assert "Small &lt;pack&gt;" in shown.text
        assert "http://127.0.0.1:1/cart" in shown.text
        declined = await browser.post(session.url, data={"card": "pm_card_visa_chargeDeclined"})
        assert "Your card was declined." in declined.text
        asked = await browser.post(session.url, data={"card": "pm_card_authenticationRequired"})
        assert asked.status_code == 303
        step = await browser.get(asked.headers["location"])
        assert "Your bank asks" in step.text
        passed = await browser.post(asked.headers["location"], data={"answer": "pass"})
        assert passed.headers["location"].startswith(f"{sandbox.url}/checkout/{session.id}?")
        done = await browser.get(passed.headers["location"])
        assert done.headers["location"] == BACK.replace("{CHECKOUT_SESSION_ID}", session.id)
        index = await browser.get("/")
        assert customer in index.text
        paid = await v1.checkout.sessions.retrieve_async(
            session.id, {"expand": ["payment_intent.latest_charge"]}
        )
        receipt = await browser.get(paid.payment_intent.latest_charge.receipt_url)
        assert "19.98 USD charged" in receipt.text
        for path in ("/checkout/cs_nothing", "/3ds/pi_nothing", "/receipts/ch_nothing"):
            assert (await browser.get(path)).status_code == 404


async def test_leaving_the_page_keeps_it_open(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    session = await page(v1, customer, cancel_url="http://127.0.0.1:1/cart")
    left = await control.cancel_session(session.id)
    assert left.body == {"status": "open", "cancel_url": "http://127.0.0.1:1/cart"}
