"""Money that goes back without us: refunds in the provider's dashboard, and disputes."""

import json
from datetime import timedelta
from decimal import Decimal

from billing.core.clock import real_now
from billing.core.database import Database
from billing.money.payments import event_owners
from billing.platform.provider_inbox import paypal
from tests.integration.actors import Actors, Customer, Json, intent_of, wait_for
from tests.integration.arrears.deferred_uses import put_off, until
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import begun, change
from tests.integration.credits.test_top_ups import spend
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.payments.test_paypal import begun_by_paypal, paid_once
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import WHY, paid_for, refunded, shown


async def test_refunds_made_in_the_dashboard_are_booked_once_whatever_the_order(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    intent = payment["stripe_payment_intent_id"]
    await actors.sandbox.webhooks(
        "hold", customer=await customer.stripe_customer(), types=["refund.*", "charge.refunded"]
    )
    for amount in (333, 66):
        assert (await actors.sandbox.refund(intent, amount)).status == 200
    await actors.sandbox.webhooks(
        "duplicate", customer=await customer.stripe_customer(), copies=2, types=["*"]
    )
    await actors.sandbox.release(order="reverse")
    await until_credits(customer, "60.06006")
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("succeeded", 399)
    assert sorted(note["amount"] for note in invoice["credit_notes"]) == [66, 333]
    rest = await refunded(customer, payment)
    assert rest["amount_cents"] == 600
    await until_credits(customer, "0")
    made = await customer.rows("SELECT status FROM refunds WHERE account_id = %(me)s")
    assert [one["status"] for one in made] == ["succeeded"] * 3


async def test_a_purchase_whose_money_went_back_before_it_was_booked_is_no_declined_card(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("processing")
    begun = await customer.buy("small", "saved_card", key="k")
    payer = await customer.stripe_customer()
    await actors.sandbox.webhooks("hold", customer=payer, types=["*"])
    (intent,) = [
        one["stripe_payment_intent_id"]
        for one in await customer.rows(
            "SELECT stripe_payment_intent_id FROM payments WHERE account_id = %(me)s"
        )
    ]
    await actors.sandbox.settle(intent, "succeed")
    assert (await actors.sandbox.refund(intent)).status == 200
    await actors.sandbox.release(customer=payer, types=["refund.created"])
    await wait_for(
        lambda: customer.rows("SELECT id FROM refunds WHERE account_id = %(me)s"),
        "the refund is seen", lambda found: len(found) == 1,
    )  # fmt: skip
    await actors.sandbox.release(customer=payer)
    ended = await customer.until_purchase(begun["purchase_id"], "failed")
    assert ended["failure_code"] == "REFUNDED"
    path, again = "/billing/purchases", {"pack": "small", "payment_method": "saved_card"}
    for _ in range(2):
        said = await customer.refused("PURCHASE_STATE", "POST", path, again, key="k")
        assert (said["status"], said["state"]) == (409, "failed")
        assert said["purchase_id"] == begun["purchase_id"]
    assert await customer.grants() == []


async def test_a_refund_found_while_a_change_waits_is_a_note_once_that_is_dropped(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    payment = await paid_for(customer)
    await customer.script("authentication_required")
    assert (await change(customer, plan="enterprise"))["pending_change"]
    await actors.sandbox.refund(payment["stripe_payment_intent_id"], 4000)

    await wait_for(
        lambda: money(customer), "the change holds its room", lambda cents: cents == -4000
    )
    assert await customer.credits() == 500
    await actors.sandbox.refund(payment["stripe_payment_intent_id"], 900)
    await customer.until_subscription("canceled")
    await until_credits(customer, "0")
    assert await money(customer) == 0, "no later invoice charges what was given back"
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 4900)
    assert sum(note["amount"] for note in invoice["credit_notes"]) == 4900
    owed = await customer.rows(
        "SELECT id FROM invoices WHERE account_id = %(me)s AND status = 'open'"
    )
    assert owed == []
    await check_books(customer)


async def test_a_dispute_takes_its_credits_and_gives_them_back_when_it_is_won(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=333)
    dispute = await disputed(actors, customer, "open")
    assert (dispute["amount_cents"], dispute["loss_cents"], dispute["stripe_status"]) == (
        333, 0, "needs_response",
    )  # fmt: skip
    assert dispute["evidence_due_at"] is not None
    await until_credits(customer, "66.666667")
    coming = (await customer.ask("GET", "/billing/timeline?upcoming=5"))["future"]
    assert [(one["name"], one["amount_cents"]) for one in coming] == [("remind", 333)] * 2
    refused = await refunded(customer, payment, 667, status=409)
    assert (refused["code"], refused["left_cents"]) == ("REFUND_TOO_LARGE", 666)
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")
    await until_credits(customer, "100")
    told = await customer.published()
    assert told.count("evt.billing.dispute.opened") == told.count("evt.billing.dispute.won") == 1


async def test_credits_of_a_won_dispute_pay_what_was_put_off(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await until_credits(customer, "0")
    path = await put_off(customer, "1000")
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await until(customer, path, "completed")
    assert await customer.credits() == 98
    await check_books(customer)


async def test_a_lost_dispute_takes_no_more_than_is_left_and_an_inquiry_takes_nothing(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    intent = payment["stripe_payment_intent_id"]
    asked = await actors.sandbox.dispute(intent, inquiry=True)
    await disputed(actors, customer, "inquiry")
    assert await customer.credits() == 100
    await actors.sandbox.finish_dispute(asked.body["id"], "lost")
    await disputed(actors, customer, "closed")
    await refunded(customer, payment, 333)
    opened = await actors.sandbox.dispute(intent, "product_not_received")
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    dispute = await disputed(actors, customer, "lost")
    assert (dispute["amount_cents"], dispute["loss_cents"]) == (
        999, 333,
    ), "the bank took the whole charge"  # fmt: skip
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 999)
    assert sorted((note["amount"], note["reason"]) for note in invoice["credit_notes"]) == [
        (333, WHY["reason"]), (666, "dispute lost: product_not_received"),
    ]  # fmt: skip
    assert await customer.credits() == 0
    assert await money(customer) == 0


async def test_a_dispute_that_stripe_resolves_is_lost_and_one_that_it_blocks_took_nothing(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    intent = payment["stripe_payment_intent_id"]
    await actors.sandbox.dispute(intent, prevented="block")
    await disputed(actors, customer, "closed")
    assert await customer.credits() == 100
    await actors.sandbox.dispute(intent, prevented="resolution")
    dispute = await disputed(actors, customer, "lost")
    assert (dispute["stripe_status"], dispute["loss_cents"]) == ("prevented", 0)
    await until_credits(customer, "0")
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 999)
    assert [note["amount"] for note in invoice["credit_notes"]] == [999]


async def test_a_period_whose_payment_is_lost_is_not_served_any_more(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribed("pro", interval="year")
    await use(customer, "5000")
    await use(customer, "100")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    assert (await customer.subscription())["status"] == "active"

    await actors.sandbox.finish_dispute(opened.body["id"], "lost")

    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"
    assert await money(customer) == 0
    totals = [one["total"] for one in (await customer.ask("GET", "/billing/invoices"))["data"]]
    assert totals == [150, 49000], "use beyond the plan has a final invoice"
    assert await customer.credits() == 0
    late = {
        "feature_type": "ai_responses", "usage_amount": "1",
        "occurred_at": "2027-01-01T10:00:00Z",
    }  # fmt: skip
    await customer.refused("EVENT_TOO_OLD", "POST", "/usage/record", late)


async def test_a_refund_that_is_seen_before_the_grant_cancels_the_grant(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small")
    whose = await customer.stripe_customer()
    await actors.sandbox.webhooks("hold", customer=whose, types=["payment_intent.*"])
    poll = await actors.sandbox.fault("error_429", method="GET", path="/v1/events", times=None)
    await customer.pay(begun)
    assert (await actors.sandbox.refund(intent_of(begun))).status == 200
    await wait_for(
        lambda: customer.rows("SELECT status FROM refunds WHERE account_id = %(me)s"),
        "the refund is seen",
        lambda seen: [one["status"] for one in seen] == ["succeeded"],
    )
    await actors.sandbox.clear("faults", poll)
    await actors.sandbox.release(customer=whose)
    ended = await customer.until_purchase(begun["purchase_id"], "failed")
    assert ended["next_action"] == {"type": "none"}
    assert await customer.grants() == []
    assert await customer.credits() == 0
    assert [one["status"] for one in await customer.invoices()] == ["void"]
    payment = await wait_for(
        lambda: paid_for(customer),
        "what went back is booked",
        lambda seen: seen["status"] == "refunded",
    )
    assert payment["amount_refunded"] == 999
    assert await money(customer) == 0


async def test_a_dispute_that_is_seen_before_the_grant_takes_the_credits(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small")
    whose = await customer.stripe_customer()
    await actors.sandbox.webhooks("hold", customer=whose, types=["payment_intent.*"])
    poll = await actors.sandbox.fault("error_429", method="GET", path="/v1/events", times=None)
    await customer.pay(begun)
    opened = await actors.sandbox.dispute(intent_of(begun))
    assert (await disputed(actors, customer, "open"))["loss_cents"] == 0
    await actors.sandbox.clear("faults", poll)
    await actors.sandbox.release(customer=whose)
    await customer.until_purchase(begun["purchase_id"], "completed")
    await until_credits(customer, "0")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    payment = await wait_for(
        lambda: paid_for(customer),
        "what went back is booked",
        lambda seen: seen["status"] == "refunded",
    )
    assert payment["amount_refunded"] == 999
    await check_books(customer)


async def taken_back_unheard(customer: Customer, begun: Json, order: str) -> Json:
    """PayPal's event of money that it took back again, which never came."""
    sandbox = customer.actors.sandbox
    await sandbox.paypal_approve(order)
    await paid_once(customer, begun)
    await sandbox.paypal_steer(order, mute=True)
    await sandbox.paypal_reverse(order)
    (told,) = await sandbox.paypal(f"purchase/{begun['purchase_id']}")
    (back,) = told["purchase_units"][0]["payments"]["refunds"]
    return {
        "id": f"WH-{order}", "event_type": "PAYMENT.CAPTURE.REVERSED", "resource": back,
        "create_time": back["create_time"],
    }  # fmt: skip


async def test_a_reversal_whose_matter_was_not_told_waits_for_it(
    customer: Customer, database: Database
) -> None:
    begun, order = await begun_by_paypal(customer)
    event = await taken_back_unheard(customer, begun, order)
    now = real_now()
    async with database.operator() as connection:
        # Nobody is told of it, as if the process had died; the sweep finds it in the same moment.
        came = now - timedelta(minutes=2)
        await event_owners.receive(connection, [paypal.read(event)], "webhook", came)
        await event_owners.handle_echoes(connection, now + timedelta(minutes=2), 1000)
    await until_credits(customer, "0")
    seen, _ = await shown(customer, await paid_for(customer))
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 999)


async def test_money_that_paypal_takes_back_is_booked_even_if_its_event_was_left(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    begun, order = await begun_by_paypal(customer)
    event = await taken_back_unheard(customer, begun, order)
    await actors.sql(
        "INSERT INTO stripe_webhook_events"
        " (stripe_event_id, type, status, payload, source, received_at)"
        " VALUES (%(id)s, %(type)s, 'unmatched', %(payload)s, 'webhook', now())",
        id=event["id"], type=event["event_type"], payload=json.dumps(event),
    )  # fmt: skip
    await actors.operate("POST", f"/admin/webhooks/{event['id']}/replay", status=200)
    await until_credits(customer, "0")
    payment = await paid_for(customer)
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 999)
    [note] = invoice["credit_notes"]
    assert (note["amount"], note["reason"]) == (999, "Payment reversed")
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "refunded"


async def test_a_dispute_that_is_won_after_it_was_lost_is_money_of_the_customer(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    await spend(customer, "40")
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    await disputed(actors, customer, "lost")
    assert await customer.credits() == await money(customer) == 0
    won = await actors.sandbox.finish_dispute(opened.body["id"], "won")
    assert (won.status, len(won.body["balance_transactions"])) == (200, 2)
    await disputed(actors, customer, "won")
    assert await customer.credits() == 0
    assert await money(customer) == 999, "also for what was spent"
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("succeeded", 0)
    assert [note["amount"] for note in invoice["credit_notes"]] == [999]
    told = await customer.published()
    assert told.count("evt.billing.dispute.lost") == told.count("evt.billing.dispute.won") == 1
    [event] = (await customer.ask("GET", "/billing/events?type=evt.billing.dispute.won"))["data"]
    assert event["data"]["balance_cents"] == 999, "it says where the money is"
    assert event["data"]["stripe_status"] == "won"
    await check_books(customer)


async def test_a_pack_paid_twice_of_which_a_bank_took_one_and_returned_it_is_half_there(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    pack = await customer.buy("small")
    whose = await customer.stripe_customer()
    await actors.sandbox.webhooks("hold", customer=whose, types=["payment_intent.*"])
    poll = await actors.sandbox.fault("error_429", method="GET", path="/v1/events", times=None)
    await customer.pay(pack)
    by_hand = await submit(customer, pack["invoice_id"], amount=500)
    await actors.sandbox.clear("faults", poll)
    await actors.sandbox.release(customer=whose)
    await customer.until_purchase(pack["purchase_id"], "completed")
    await decide(customer, by_hand, "approve", amount_minor=500)
    opened = await actors.sandbox.dispute(intent_of(pack), "product_not_received")
    for verdict in ("lost", "won"):
        await actors.sandbox.finish_dispute(opened.body["id"], verdict)
        await disputed(actors, customer, verdict)
        assert await money(customer) == (999 if verdict == "won" else 0)
        assert await customer.credits() == Decimal("50.05005")
        assert (await customer.purchase(pack["purchase_id"]))["status"] == "completed"
    seen, invoice = await shown(customer, by_hand)
    assert (seen["status"], seen["amount_refunded"]) == ("completed", 0)
    assert (invoice["status"], [one["amount"] for one in invoice["credit_notes"]]) == (
        "paid",
        [499],
    )
    await check_books(customer)


async def test_what_paypal_took_back_without_an_event_is_found_by_a_check_of_its_payment(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    begun, order = await begun_by_paypal(customer)
    await taken_back_unheard(customer, begun, order)
    path = f"/admin/payments/{(await paid_for(customer))['payment_id']}/check"
    checked = await actors.operate("POST", path, status=200)
    assert (checked["status"], checked["amount_refunded"]) == ("refunded", 999)
    await until_credits(customer, "0")
    again = await actors.operate("POST", path, status=200)
    assert again["amount_refunded"] == 999
