"""Money sent by hand: the payer says so, an operator decides, what it buys is delivered once."""

import asyncio
from uuid import uuid4

import pytest

from tests.integration.actors import API, Actors, Customer, Json, wait_for
from tests.integration.lost_answers import lose_answer
from tests.integration.money_seen import money
from tests.integration.payments.manual_payments import SUBMIT, decide, invoice_of, submit
from tests.integration.waiting import Unexpected


async def test_a_pack_is_bought_by_bank_transfer(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    action = begun["next_action"]
    assert (action["type"], action["amount_cents"], action["currency"]) == ("manual", 999, "USD")
    proforma = await invoice_of(customer, begun["invoice_id"])
    assert (proforma["status"], proforma["invoice_number"]) == ("draft", None)
    assert proforma["payment_reference"] == action["payment_reference"]

    payment = await submit(customer, begun["invoice_id"], transaction_reference="TRX-4711")

    assert (payment["status"], payment["amount"]) == ("pending_approval", 999)
    assert (payment["payment_method"], payment["transaction_reference"]) == (
        "bank_transfer", "TRX-4711",
    )  # fmt: skip
    waiting = await customer.purchase(begun["purchase_id"])
    assert (waiting["status"], waiting["next_action"]) == ("pending", {"type": "wait"})
    assert await customer.credits() == 0

    approved = await decide(customer, payment, "approve")

    assert (approved["status"], approved["amount_received"]) == ("completed", 999)
    assert (approved["invoice_status"], approved["amount_remaining"]) == ("paid", 0)
    assert approved["decided_by"].startswith("admin:")
    done = await customer.purchase(begun["purchase_id"])
    assert done["status"] == "completed"
    assert await customer.credits() == 100
    paid = await invoice_of(customer, begun["invoice_id"])
    assert paid["status"] == "paid"
    assert paid["invoice_number"]
    told = await customer.published()
    assert [t for t in told if ".payment." in t] == [
        "evt.billing.payment.submitted", "evt.billing.payment.approved",
    ]  # fmt: skip
    assert told.count("evt.billing.credits.purchased") == 1
    audited = await customer.rows(
        "SELECT action, actor FROM billing_audit WHERE account_id = %(me)s"
        " AND action LIKE 'payment.%%' ORDER BY id"
    )
    assert [row["action"] for row in audited] == ["payment.submitted", "payment.approved"]
    assert audited[1]["actor"].startswith("admin:")


@pytest.mark.parametrize("missing", ["invoice_id", "payment_method", "transaction_reference"])
@pytest.mark.parametrize("empty", [None, "", "  "])
async def test_every_field_of_a_submission_is_needed(
    customer: Customer, missing: str, empty: str | None
) -> None:
    begun = await customer.buy("small", "manual")
    body: Json = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "bank_transfer",
        "transaction_reference": "TRX-1",
    }
    body[missing] = empty
    refused = await customer.call("POST", SUBMIT, body)
    assert (refused.status_code, refused.json()["code"]) == (400, "MISSING_FIELD")
    assert [error["field"] for error in refused.json()["errors"]] == [missing]
    wrong = await customer.call("POST", SUBMIT, body | {"amount": -1, "colour": "red"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "MISSING_FIELD")
    del body[missing]
    assert (await customer.call("POST", SUBMIT, body)).status_code == 400
    assert (await customer.call("POST", SUBMIT)).status_code == 400


async def test_only_what_is_owed_can_be_paid_by_hand(customer: Customer) -> None:
    bought = await customer.bought()
    body = {
        "invoice_id": bought["invoice_id"],
        "payment_method": "cash",
        "transaction_reference": "TRX-1",
    }
    await customer.refused("INVOICE_ALREADY_PAID", "POST", SUBMIT, body)
    assert (await customer.call("POST", SUBMIT, body)).status_code == 400
    for name in ("inv_00000000000000000000000000", "nonsense"):
        await customer.refused("INVOICE_NOT_FOUND", "POST", SUBMIT, body | {"invoice_id": name})
    begun = await customer.buy("small", "manual")
    wanted = body | {"invoice_id": begun["invoice_id"]}
    await customer.refused("CURRENCY_MISMATCH", "POST", SUBMIT, wanted | {"currency": "EUR"})
    for wrong in ({"amount": 0}, {"amount": 9.99}, {"amount": "999"}, {"iban": "DE00"}):
        await customer.refused("VALIDATION_FAILED", "POST", SUBMIT, wanted | wrong)


async def test_one_submission_at_a_time_and_each_reference_once(customer: Customer) -> None:
    first, second = await customer.buy("small", "manual"), await customer.buy("small", "manual")
    payment = await submit(customer, first["invoice_id"], transaction_reference="TRX-1")
    body = {
        "invoice_id": first["invoice_id"],
        "payment_method": "cash",
        "transaction_reference": "TRX-2",
    }
    await customer.refused("PAYMENT_PENDING", "POST", SUBMIT, body)
    same = {**body, "invoice_id": second["invoice_id"], "transaction_reference": "TRX-1"}
    await customer.refused("PAYMENT_REFERENCE_USED", "POST", SUBMIT, same)
    await decide(customer, payment, "approve")
    await customer.refused("PAYMENT_REFERENCE_USED", "POST", SUBMIT, same)


async def test_of_ten_submissions_at_once_one_counts(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    bodies = [
        {
            "invoice_id": begun["invoice_id"],
            "payment_method": "cash",
            "transaction_reference": f"TRX-{number}",
        }
        for number in range(10)
    ]
    answers = await asyncio.gather(*(customer.call("POST", SUBMIT, body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_the_same_key_submits_once(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    body = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "cash",
        "transaction_reference": "TRX-1",
    }
    first, second = [
        await customer.ask("POST", SUBMIT, body, key="one", status=201) for _ in range(2)
    ]
    assert first == second


async def test_a_rejected_payer_is_told_why_and_may_submit_again(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"], transaction_reference="TRX-1")
    rejected = await decide(customer, payment, "reject", reason="nothing came")
    assert (rejected["status"], rejected["failure_code"]) == ("failed", "rejected")
    assert rejected["failure_message"] == rejected["decision_reason"] == "nothing came"
    assert "evt.billing.payment.rejected" in await customer.published()
    again = await customer.purchase(begun["purchase_id"])
    assert again["next_action"]["type"] == "manual"
    payment = await submit(customer, begun["invoice_id"], transaction_reference="TRX-1")
    await decide(customer, payment, "approve")
    assert await customer.credits() == 100


async def test_a_decision_is_made_once(actors: Actors, customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"])
    path = f"/admin/payments/{payment['payment_id']}"
    both = await asyncio.gather(
        *(
            actors.client.post(
                f"/api/v1{path}/{verb}", json=body, headers=actors.headers("*", "admin")
            )
            for verb, body in (("approve", {}), ("reject", {"reason": "no"}), ("approve", {}))
        )
    )
    assert sorted(answer.status_code for answer in both) == [200, 409, 409]
    assert await customer.credits() in (0, 100)
    refused = await actors.operate("POST", f"{path}/approve", {}, status=409)
    assert refused["code"] == "PAYMENT_STATE"
    unknown = "/admin/payments/pay_00000000000000000000000000/approve"
    assert (await actors.operate("POST", unknown, {}, status=404))["code"] == "PAYMENT_NOT_FOUND"


async def test_a_part_of_the_money_leaves_the_rest_to_pay(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    first = await submit(customer, begun["invoice_id"], amount=500)
    decided = await decide(customer, first, "approve", amount_cents=400, currency="USD")
    assert (decided["invoice_status"], decided["amount_remaining"]) == ("draft", 599)
    assert await customer.credits() == 0
    asked = (await customer.purchase(begun["purchase_id"]))["next_action"]
    assert (asked["type"], asked["amount_cents"]) == ("manual", 599)
    second = await submit(customer, begun["invoice_id"])
    assert second["amount"] == 599
    await decide(customer, second, "reject", reason="nothing came")
    third = await submit(customer, begun["invoice_id"], amount=999)
    with pytest.raises(Unexpected, match="AMOUNT_REQUIRED"):
        await decide(customer, third, "approve")
    with pytest.raises(Unexpected, match="VALIDATION_FAILED"):
        await decide(customer, third, "approve", amount_cents=599, amount_minor=599)
    await decide(customer, third, "approve", amount_minor=599)  # its older name
    assert await customer.credits() == 100
    assert (await invoice_of(customer, begun["invoice_id"]))["amount_paid"] == 999
    assert await money(customer) == 0


async def test_more_than_is_owed_is_kept_for_the_customer(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"])
    await decide(customer, payment, "approve", amount_cents=1500)
    assert await customer.credits() == 100
    assert await money(customer) == 501


async def test_a_payer_who_states_too_much_is_not_believed(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"], amount=100000)
    with pytest.raises(Unexpected, match="AMOUNT_REQUIRED"):
        await decide(customer, payment, "approve")
    await decide(customer, payment, "approve", amount_cents=999)
    assert await customer.credits() == 100
    assert await money(customer) == 0


async def test_a_part_comes_back_when_the_purchase_expires_and_buys_with_the_rest(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"])
    await decide(customer, payment, "approve", amount_minor=400)
    await customer.advance(days=14)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert (await invoice_of(customer, begun["invoice_id"]))["status"] == "void"
    assert await money(customer) == 400
    rest = await submit(customer, begun["invoice_id"])
    await decide(customer, rest, "approve")
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await customer.credits() == 100
    assert await money(customer) == 0


async def test_a_transfer_that_nobody_reported_in_time_can_still_be_recorded(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun, second = await customer.buy("small", "manual"), await customer.buy("small", "manual")
    await customer.advance(days=15)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert (await invoice_of(customer, begun["invoice_id"]))["status"] == "void"
    came = {"amount_cents": 999, "reference": "TRX-late"}
    path = f"/admin/invoices/{begun['invoice_id']}/record-payment"
    await actors.operate("POST", path, came, key=str(uuid4()), status=200)
    bought = await customer.until_purchase(begun["purchase_id"], "completed")
    assert await customer.credits() == 100
    assert await money(customer) == 0
    assert (await invoice_of(customer, bought["invoice_id"]))["status"] == "paid"
    again = await actors.operate(
        "POST", path, came | {"reference": "TRX-2"}, key=str(uuid4()), status=409
    )
    assert again["code"] == "INVOICE_STATE"

    payment = await submit(customer, second["invoice_id"])
    await decide(customer, payment, "approve", amount_minor=400)
    assert (await customer.purchase(second["purchase_id"]))["status"] == "expired"
    assert await customer.credits() == 100
    assert await money(customer) == 400


async def test_a_first_payment_that_comes_after_its_time_is_kept(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe_by_transfer()
    await customer.advance(days=15)
    assert (await customer.subscription())["status"] == "incomplete_expired"
    path = f"/admin/invoices/{begun['latest_invoice_id']}/record-payment"
    came = {"amount_cents": 1900, "reference": "TRX-late"}
    await actors.operate("POST", path, came, key=str(uuid4()), status=200)
    await wait_for(lambda: money(customer), "it is on the money balance", lambda n: n == 1900)


async def test_a_purchase_does_not_expire_while_an_operator_decides(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"])
    await customer.advance(days=30)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    told = await customer.published()
    assert told.count("evt.billing.payment.awaits_approval") == 6, "every five days"
    await decide(customer, payment, "reject", reason="nothing came")
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"


async def test_the_operators_pile_holds_what_awaits_approval(
    actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"])
    pile = await actors.operate(
        "GET", f"/admin/payments?status=pending_approval&account_id={customer.id}"
    )
    assert [one["payment_id"] for one in pile["data"]] == [payment["payment_id"]]


# -- one collector per invoice ---------------------------------------------------------------


async def test_a_cards_payment_is_called_back_before_a_transfer_counts(customer: Customer) -> None:
    begun = await customer.buy("small")
    payment = await submit(customer, begun["invoice_id"])
    assert payment["status"] == "pending_approval"
    late = await customer.confirm(begun)
    assert late.status == 400, "the card's intent is canceled at Stripe"
    await decide(customer, payment, "approve")
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "completed"
    assert await customer.credits() == 100
    assert await customer.effects() == []


@pytest.mark.parametrize(
    ("verb", "fields"), [("approve", {}), ("reject", {"reason": "it never came"})]
)
async def test_a_decision_whose_answer_was_lost_is_answered_once_more(
    actors: Actors, customer: Customer, verb: str, fields: Json
) -> None:
    begun = await customer.buy("small", "manual")
    payment = await submit(customer, begun["invoice_id"])
    path, key = f"/admin/payments/{payment['payment_id']}/{verb}", str(uuid4())
    mine = actors.headers("*", "admin", key)
    decided = await actors.client.post(f"{API}{path}", json=fields, headers=mine)
    await lose_answer(actors, key)
    again = await actors.client.post(f"{API}{path}", json=fields, headers=mine)
    assert (again.status_code, again.json()) == (200, decided.json())
    other = await actors.operate("POST", path, fields, status=409)
    assert other["code"] == "PAYMENT_STATE", "another request is no repeat"


async def test_a_hosted_page_is_closed_before_a_transfer_counts(customer: Customer) -> None:
    begun = await customer.buy("small", "checkout", return_url="https://shop.example/back")
    payment = await submit(customer, begun["invoice_id"])
    [row] = await customer.rows(
        "SELECT stripe_checkout_session_id AS id FROM payments WHERE account_id = %(me)s"
        " AND flow = 'checkout'"
    )
    assert (await customer.actors.sandbox.pay_session(row["id"])).status == 400
    await decide(customer, payment, "approve")
    assert await customer.credits() == 100


async def test_until_the_card_is_called_back_a_submission_waits(
    actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small")
    fault = await actors.sandbox.fault(
        "error_500_unstored",
        method="POST",
        path="/v1/payment_intents/*/cancel",
        metadata={"account": customer.id},
        times=None,
    )
    body = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "cash",
        "transaction_reference": "TRX-1",
    }
    waiting = await customer.ask("POST", SUBMIT, body, key="one", status=202)
    assert waiting["status"] == "pending"
    refused = await actors.operate(
        "POST", f"/admin/payments/{waiting['payment_id']}/approve", {}, status=409
    )
    assert refused["code"] == "PAYMENT_STATE"
    await actors.sandbox.clear("faults", fault)

    async def state() -> str:
        shown = await customer.ask("GET", f"/billing/payments/{waiting['payment_id']}")
        return str(shown["status"])

    await wait_for(state, "it awaits approval", lambda seen: seen == "pending_approval")
    again = await customer.ask("POST", SUBMIT, body, key="one", status=201)
    assert again["payment_id"] == waiting["payment_id"], "the same key, the same payment"


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_a_card_that_paid_meanwhile_wins_and_the_transfer_is_kept(
    customer: Customer, verb: str
) -> None:
    begun = await customer.buy("small")
    async with customer.unheard():
        await customer.pay(begun)
        payment = await submit(customer, begun["invoice_id"])
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert payment["status"] == "pending_approval", "somebody must say whether that came as well"
    if verb == "approve":
        with pytest.raises(Unexpected, match="AMOUNT_REQUIRED"):
            await decide(customer, payment, "approve")
    said: dict[str, Json] = {"approve": {"amount_cents": 999}, "reject": {"reason": "no"}}
    await decide(customer, payment, verb, **said[verb])
    assert await customer.credits() == 100, "granted once"
    assert await money(customer) == (999 if verb == "approve" else 0)
