"""PayPal on the running stack: approved by its payer, captured by us, booked once."""

import asyncio
import re
from functools import partial
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from billing.core import ids
from billing.insight.health import store
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import overdue, owed
from tests.integration.invoices.operator_commands import commanded
from tests.integration.invoices.test_documents import receipt_of
from tests.integration.invoices.test_operating import from_outside
from tests.integration.money_seen import money
from tests.integration.reversals.refunds_made import paid_for, refunded

BACK = "https://shop.example/back"


def order_of(begun: Json) -> str:
    """The order behind an answer's approve link."""
    action = begun["next_action"]
    assert action["type"] == "redirect", begun
    (token,) = parse_qs(urlsplit(str(action["url"])).query)["token"]
    return token


async def begun_by_paypal(customer: Customer, **more: str) -> tuple[Json, str]:
    """A purchase that waits for its payer, and its order."""
    begun = await customer.buy("small", "paypal", return_url=BACK, **more)
    assert (begun["platform"], begun["checkout_url"]) == ("paypal", begun["next_action"]["url"])
    return begun, order_of(begun)


async def approved_unheard(customer: Customer, order: str, matter: str) -> None:
    """Its payer approves the order; PayPal's event lies in the inbox, as while no worker runs."""
    await customer.actors.sandbox.paypal_steer(order, mute=True)
    await customer.actors.sandbox.paypal_approve(order)
    await customer.rows(
        "INSERT INTO stripe_webhook_events"
        " (stripe_event_id, account_id, workflow_id, type, object_id, payload, received_at)"
        " VALUES ('WH-' || %(order)s, %(me)s, %(matter)s, 'CHECKOUT.ORDER.APPROVED', %(order)s,"
        " '{}', now()) RETURNING status",
        order=order, matter=matter,
    )  # fmt: skip


async def is_captured(customer: Customer, matter: str) -> bool:
    """True if the one order of this matter has taken money."""
    (told,) = await customer.actors.sandbox.paypal(matter)
    return "captures" in told["purchase_units"][0].get("payments", {})


async def paid_once(customer: Customer, begun: Json, value: str = "9.99") -> Json:
    """One capture at PayPal, one grant, one numbered invoice; answers the purchase."""
    done = await customer.until_purchase(begun["purchase_id"], "completed")
    (order,) = await customer.actors.sandbox.paypal(f"purchase/{begun['purchase_id']}")
    (unit,) = order["purchase_units"]
    assert unit["amount"]["value"] == value
    assert [one["status"] for one in unit["payments"]["captures"]] == ["COMPLETED"]
    assert len(await customer.grants()) == 1
    paid = [invoice for invoice in await customer.invoices() if invoice["status"] == "paid"]
    assert [invoice["number"] is not None for invoice in paid] == [True]
    assert await customer.effects() == [], "nothing at Stripe"
    return done


async def test_an_approved_order_is_captured_and_booked_once(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer)
    await customer.actors.sandbox.paypal_approve(order)
    done = await paid_once(customer, begun)
    assert done["next_action"] == {"type": "none"}
    (payment,) = (await customer.ask("GET", "/billing/payments"))["data"]
    assert (payment["status"], payment["amount"]) == ("succeeded", 999)
    assert "PayPal, " in await receipt_of(customer, begun["invoice_id"])
    await customer.actors.sandbox.paypal_repeat(order)
    seen = await wait_for(
        lambda: customer.rows(
            "SELECT deliveries, status FROM stripe_webhook_events WHERE account_id = %(me)s"
        ),
        "PayPal's events come again",
        lambda rows: rows and all(one["deliveries"] == 2 for one in rows),
    )
    assert {one["status"] for one in seen} == {"handled"}
    await paid_once(customer, begun)


async def test_lost_webhooks_declines_and_waits_end_as_they_should(actors: Actors) -> None:
    stories = (
        a_lost_webhook, a_decline_then_another_way, a_capture_that_waits, a_denied_capture,
        a_reversal_before_the_money_is_seen, yen,
    )  # fmt: skip
    await asyncio.gather(*[story(await actors.customer()) for story in stories])


async def a_lost_webhook(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer)
    await customer.actors.sandbox.paypal_steer(order, mute=True)
    await customer.actors.sandbox.paypal_approve(order)
    await polled(customer, begun)
    await paid_once(customer, begun)
    await missed_after_an_hour(customer, order)


async def polled(customer: Customer, begun: Json) -> None:
    """The purchase asks PayPal, because no event has come for two minutes."""
    for table in ("payments", "purchases"):
        await customer.rows(
            f"UPDATE {table} SET created_at = created_at - interval '2 minutes'"
            " WHERE account_id = %(me)s"
        )
    handle = customer.actors.temporal.get_workflow_handle(f"purchase/{begun['purchase_id']}")
    await handle.signal("changed")


async def missed_after_an_hour(customer: Customer, order: str) -> None:
    """PayPal's silence about a capture is told of, until it speaks of it."""
    asked = store.backlog("unsent_paypal")
    ago = (
        "UPDATE payments SET settled_at = settled_at - %(ago)s::interval"
        " WHERE account_id = %(me)s RETURNING public_id('pay', id) AS id"
    )
    await customer.rows(ago, ago="55 minutes")
    assert await customer.rows(asked) == []
    (payment,) = await customer.rows(ago, ago="1 hour")
    (missed,) = await customer.rows(asked)
    assert missed["examples"] == [payment["id"]]
    told = (
        "INSERT INTO stripe_webhook_events (stripe_event_id, type, object_id, payload, status,"
        " received_at) VALUES (%(type)s || %(order)s, %(type)s, %(order)s, '{}', 'handled', now())"
    )
    await customer.rows(told, type="CHECKOUT.ORDER.APPROVED", order=order)
    assert await customer.rows(asked) == [missed], "its list of events may lack captures"
    await customer.rows(told, type="PAYMENT.CAPTURE.COMPLETED", order=order)
    assert await customer.rows(asked) == []


async def a_decline_then_another_way(customer: Customer) -> None:
    sandbox = customer.actors.sandbox
    begun, order = await begun_by_paypal(customer)
    refused = "SELECT 1 AS one FROM payments WHERE account_id = %(me)s AND failure_code = %(code)s"
    for issue in ("INSTRUMENT_DECLINED", "PAYER_ACCOUNT_RESTRICTED"):
        await sandbox.paypal_steer(order, "declined", issue=issue)
        await sandbox.paypal_approve(order)
        await wait_for(
            partial(customer.rows, refused, code=issue.lower()), "the decline is heard of"
        )
    now = await customer.purchase(begun["purchase_id"])
    assert (now["status"], now["next_action"]["type"]) == ("pending", "redirect")
    await sandbox.paypal_steer(order, "pays")
    await sandbox.paypal_approve(order)
    await paid_once(customer, begun)
    assert await entries(customer) == [
        ("failed", "payer_account_restricted"), ("failed", "instrument_declined"),
        ("succeeded", None),
    ]  # fmt: skip


async def entries(customer: Customer) -> list[tuple[str, str | None]]:
    """The status and failure code of each entry in the list of payments, newest first."""
    listed = (await customer.ask("GET", "/billing/payments"))["data"]
    return [(one["status"], one["failure_code"]) for one in listed]


async def a_capture_that_waits(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer)
    await waits(customer, begun, order)
    await customer.actors.sandbox.paypal_settle(order, "COMPLETED")
    await paid_once(customer, begun)


async def a_denied_capture(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer)
    await waits(customer, begun, order)
    await customer.actors.sandbox.paypal_settle(order, "DENIED")
    await customer.until_purchase(begun["purchase_id"], "failed")
    assert await customer.grants() == []
    assert await entries(customer) == [("failed", "declined")]


async def a_reversal_before_the_money_is_seen(customer: Customer) -> None:
    """PayPal's events of both are lost; its order tells of both."""
    begun, order = await begun_by_paypal(customer)
    await waits(customer, begun, order)
    sandbox = customer.actors.sandbox
    await sandbox.paypal_steer(order, mute=True)
    await sandbox.paypal_settle(order, "COMPLETED")
    await sandbox.paypal_reverse(order)
    await polled(customer, begun)
    ended = await customer.until_purchase(begun["purchase_id"], "failed")
    assert ended["failure_code"] == "REFUNDED"
    (payment,) = await wait_for(
        lambda: customer.rows("SELECT status, refunded_minor FROM payments WHERE"
                              " account_id = %(me)s AND refunded_minor > 0"),
        "what went back is booked", lambda rows: len(rows) == 1,
    )  # fmt: skip
    assert (payment["status"], payment["refunded_minor"]) == ("refunded", 999)
    assert await customer.grants() == []
    assert [one["number"] for one in await customer.invoices()] == [None]


async def waits(customer: Customer, begun: Json, order: str) -> None:
    await customer.actors.sandbox.paypal_steer(order, "pending")
    await customer.actors.sandbox.paypal_approve(order)
    await wait_for(
        lambda: customer.purchase(begun["purchase_id"]),
        "PayPal holds the money back",
        lambda seen: seen["next_action"] == {"type": "wait"},
    )
    assert await customer.grants() == []


async def yen(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer, currency="JPY")
    await customer.actors.sandbox.paypal_approve(order)
    await paid_once(customer, begun, "1500")


async def test_an_order_of_a_purchase_that_is_paid_otherwise_is_never_captured(
    customer: Customer,
) -> None:
    begun, order = await begun_by_paypal(customer)
    (found,) = await customer.invoices()
    invoice = {"invoice_id": ids.encode(ids.INVOICE, found["id"])}
    await commanded(customer, invoice, "record-payment", from_outside(999))
    await customer.until_purchase(begun["purchase_id"], "completed")
    await customer.actors.sandbox.paypal_approve(order)
    await customer.until_handled("CHECKOUT.ORDER.APPROVED")
    assert not await is_captured(customer, f"purchase/{begun['purchase_id']}")
    assert (len(await customer.grants()), await money(customer)) == (1, 0)
    open_ends = "SELECT id FROM payments WHERE account_id = %(me)s AND closed_at IS NULL"
    assert await customer.rows(open_ends) == [], "the order is called back"


async def test_an_order_for_the_whole_makes_way_once_a_part_is_recorded(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer)
    invoice = {"invoice_id": begun["invoice_id"]}
    await commanded(customer, invoice, "record-payment", from_outside(400))
    asked = (await customer.purchase(begun["purchase_id"]))["next_action"]
    assert (asked["type"], asked["amount_cents"]) == ("manual", 599)
    await customer.actors.sandbox.paypal_approve(order)
    await customer.until_handled("CHECKOUT.ORDER.APPROVED")
    assert not await is_captured(customer, f"purchase/{begun['purchase_id']}")
    await commanded(customer, invoice, "record-payment", from_outside(599))
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert (len(await customer.grants()), await money(customer)) == (1, 0)


async def test_an_order_that_was_approved_unheard_is_given_up_for_the_card_that_is_asked_for(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    invoice = await owed(customer)
    pay, by_paypal = f"/billing/invoices/{invoice['invoice_id']}/pay", {"payment_method": "paypal"}
    begun = await customer.ask("POST", pay, by_paypal | {"return_url": BACK}, key="by PayPal")
    (asked,) = await customer.rows(
        "SELECT workflow_id AS matter FROM payments WHERE account_id = %(me)s AND flow = 'paypal'"
    )
    await approved_unheard(customer, order_of(begun), asked["matter"])
    await customer.ask("POST", pay, {"payment_method": "saved_card"}, key="by card")
    await wait_for(
        lambda: customer.ask("GET", f"/billing/invoices/{invoice['invoice_id']}"),
        "the card pays it",
        lambda seen: seen["status"] == "paid",
    )
    assert not await is_captured(customer, asked["matter"])
    assert await money(customer) == 0


async def test_a_payer_who_comes_after_paypal_has_ended_the_order_gets_a_new_one(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds")
    invoice = (await owed(customer))["invoice_id"]
    pay = f"/billing/invoices/{invoice}/pay"

    async def asked(key: str) -> str:
        body = {"payment_method": "paypal", "return_url": BACK}
        return order_of(await customer.ask("POST", pay, body, key=key, status=200))

    first = await asked("at once")
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert await asked("an hour later") == first
    await customer.advance(to="2027-02-01T14:00:00Z")
    await actors.sandbox.paypal_steer(first, expired=True)
    second = await asked("after four")
    assert second != first
    await actors.sandbox.paypal_approve(second)
    await wait_for(
        lambda: customer.ask("GET", f"/billing/invoices/{invoice}"),
        "PayPal pays it",
        lambda seen: seen["status"] == "paid",
    )
    assert await money(customer) == 0


async def test_the_payment_page_of_an_old_order_leads_to_a_new_one(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds")
    invoice = f"/billing/invoices/{(await owed(customer))['invoice_id']}"
    body = {"payment_method": "paypal", "return_url": BACK}
    begun = await customer.ask("POST", f"{invoice}/pay", body, key="asked", status=200)
    page = begun["next_action"]["pay_url"]
    shown = (await actors.client.get(page)).text
    assert ("You pay at PayPal." in shown, "by card" in shown) == (True, False)

    async def led_to() -> str:
        (url,) = re.findall(r'<a href="([^"]+)"', (await actors.client.post(page)).text)
        return str(url)

    first = await led_to()
    assert first == begun["next_action"]["url"]
    await customer.advance(to="2027-02-01T14:00:00Z")
    await actors.sandbox.paypal_steer(order_of(begun), expired=True)
    second = await led_to()
    assert second != first
    approved = await actors.client.post(second)
    assert approved.headers["location"].startswith(BACK), "the shop's page is kept"
    await wait_for(
        lambda: customer.ask("GET", invoice),
        "PayPal pays it",
        lambda seen: seen["status"] == "paid",
    )
    assert await money(customer) == 0


async def test_a_purchase_by_paypal_expires_with_its_order(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun, order = await begun_by_paypal(customer)
    await customer.advance(to="2027-01-01T12:00:00Z")
    assert (await customer.purchase(begun["purchase_id"]))["next_action"]["type"] == "redirect"
    await actors.sandbox.paypal_steer(order, expired=True)
    await customer.advance(to="2027-01-01T14:00:00Z")
    now = await customer.until_purchase(begun["purchase_id"], "expired")
    assert (now["next_action"], now["failure_code"]) == ({"type": "none"}, None)


async def test_forints_go_back_to_paypal_without_decimals(
    actors: Actors, customer: Customer
) -> None:
    pack = f"pack-{uuid4().hex[:8]}"
    body = {"name": "Pack", "credits": "10", "prices": {"HUF": {"amount_minor": 666_600}}}
    await actors.operate("PUT", f"/admin/credit-packages/{pack}", body)
    begun = await customer.buy(pack, "paypal", currency="HUF", return_url=BACK)
    await actors.sandbox.paypal_approve(order_of(begun))
    await customer.until_purchase(begun["purchase_id"], "completed")
    payment = await paid_for(customer)
    refused = await refunded(customer, payment, 333_333, status=409)
    assert (refused["code"], refused["detail"]) == (
        "REFUND_STEP", "the amount must be a multiple of 100",
    )  # fmt: skip
    await refunded(customer, payment, 333_300)
    await wait_for(
        lambda: customer.ask("GET", f"/billing/payments/{payment['payment_id']}"),
        "it goes back",
        lambda seen: seen["amount_refunded"] == 333_300,
    )
    (order,) = await actors.sandbox.paypal(f"purchase/{begun['purchase_id']}")
    (back,) = order["purchase_units"][0]["payments"]["refunds"]
    assert back["amount"] == {"currency_code": "HUF", "value": "3333"}


async def test_an_event_that_paypal_did_not_sign_changes_nothing(customer: Customer) -> None:
    begun, order = await begun_by_paypal(customer)
    event = {
        "id": f"WH-{order}", "event_type": "CHECKOUT.ORDER.APPROVED",
        "resource": {"id": order}, "create_time": "2027-01-01T00:00:00Z",
    }  # fmt: skip
    base = customer.actors.stack.sandbox_url
    headers = {
        "PAYPAL-TRANSMISSION-ID": "one", "PAYPAL-TRANSMISSION-TIME": "2027-01-01T00:00:00Z",
        "PAYPAL-TRANSMISSION-SIG": "c2lnbmVk", "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }  # fmt: skip
    for certificate in ("", f"{base}/v1/notifications/certs/CERT-0", "https://evil.example/c"):
        answer = await customer.actors.client.post(
            "/api/v1/webhooks/paypal", json=event,
            headers=headers | {"PAYPAL-CERT-URL": certificate},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SIGNATURE")
    assert (
        await customer.rows(
            "SELECT 1 AS one FROM stripe_webhook_events WHERE object_id = %(o)s", o=order
        )
        == []
    )
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
