"""Transfers that a payer reports for a purchase that has ended unpaid."""

from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.test_single_charges import CHARGED
from tests.integration.changes.chosen_plans import told
from tests.integration.coupons.coupons_made import coupon, redeemed
from tests.integration.invoices.test_documents import receipt_of
from tests.integration.money_seen import money
from tests.integration.payments.manual_payments import SUBMIT, decide, invoice_of, submit

REMINDED: Final = "evt.billing.payment.awaits_approval"


def report(invoice: str) -> Json:
    return {
        "invoice_id": invoice,
        "payment_method": "bank_transfer",
        "transaction_reference": f"TRX-{uuid4().hex[:10]}",
    }


async def refused(customer: Customer, code: str, invoice: str) -> Json:
    return await customer.refused(code, "POST", SUBMIT, report(invoice))


async def test_a_coupon_is_not_redeemed_more_often_by_transfers_that_come_late(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="90", max_redemptions=1)
    customer = await actors.customer_on_clock()
    first = await customer.buy("small", coupon=code)
    await customer.advance(days=2)
    second = await customer.buy("small", coupon=code)
    await customer.advance(days=2)
    assert await redeemed(actors, code) == 0

    came = await submit(customer, first["invoice_id"])
    assert await redeemed(actors, code) == 1
    problem = await refused(customer, "INVALID_COUPON", second["invoice_id"])
    assert problem["reason"] == "redeemed"
    await decide(customer, came, "reject", reason="nothing came")
    assert await redeemed(actors, code) == 0

    came = await submit(customer, second["invoice_id"])
    await refused(customer, "INVALID_COUPON", first["invoice_id"])
    done = await decide(customer, came, "approve")
    ended = await customer.purchase(second["purchase_id"])
    assert ended["status"] == "completed"
    assert await customer.credits() == 100
    assert done["invoice_voided_at"] is not None
    assert await redeemed(actors, code) == 1


async def test_an_expired_purchase_keeps_its_price_for_thirty_days(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    await customer.advance(days=30)
    came = await submit(customer, begun["invoice_id"])
    await decide(customer, came, "reject", reason="nothing came")
    await customer.advance(days=1)
    problem = await refused(customer, "INVOICE_STATE", begun["invoice_id"])
    assert "30 days after its purchase has ended" in problem["detail"]
    # An operator reports what has come anyway.
    body = report(begun["invoice_id"])
    came = await actors.operate("POST", SUBMIT, body, account=customer.id, status=201)
    shown = await actors.operate("GET", f"/admin/payments?account_id={customer.id}&undecided=true")
    assert shown["data"][0]["invoice_voided_at"] is not None
    await decide(customer, came, "approve")
    assert await customer.credits() == 100


async def test_a_transfer_that_is_reported_late_is_brought_to_mind_until_it_is_decided(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    await customer.advance(days=15)
    came = await submit(customer, begun["invoice_id"])
    await customer.advance(days=11)
    assert (await customer.published()).count(REMINDED) == 2, "every five days"
    # Money that somebody recorded instead leaves the report undecided.
    sent = {"amount_cents": 999, "reference": f"TRX-{uuid4().hex[:10]}"}
    path = f"/admin/invoices/{begun['invoice_id']}/record-payment"
    await actors.operate("POST", path, sent, key=str(uuid4()))
    await customer.until_purchase(begun["purchase_id"], "completed")
    await customer.advance(days=5)
    assert (await customer.published()).count(REMINDED) == 3
    await decide(customer, came, "reject", reason="it was recorded")
    await customer.advance(days=10)
    assert (await customer.published()).count(REMINDED) == 3


async def test_a_late_transfer_stands_on_the_invoice_that_it_pays(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    await customer.advance(days=15)
    came = await submit(customer, begun["invoice_id"])
    await decide(customer, came, "approve", amount_minor=1499)
    bought = await customer.until_purchase(begun["purchase_id"], "completed")
    first = await invoice_of(customer, begun["invoice_id"])
    paid = await invoice_of(customer, bought["invoice_id"])
    assert (first["status"], paid["status"], paid["amount_paid"]) == ("void", "paid", 999)
    assert [one["payment_id"] for one in paid["payments"]] == [came["payment_id"]]
    receipt = await receipt_of(customer, paid["invoice_id"])
    for words in (came["transaction_reference"], "14.99 USD", "Received beyond it", "5.00 USD"):
        assert words in receipt


async def test_a_late_transfer_names_the_invoice_that_it_pays(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    await customer.advance(days=15)
    came = await submit(customer, begun["invoice_id"])
    assert came["invoice_id"] == begun["invoice_id"], "nothing is paid yet"
    await decide(customer, came, "approve")
    bought = await customer.until_purchase(begun["purchase_id"], "completed")
    assert bought["invoice_id"] != begun["invoice_id"]
    (listed,) = (await customer.ask("GET", "/billing/payments"))["data"]
    shown = await customer.ask("GET", f"/billing/payments/{came['payment_id']}")
    (known,) = (await actors.operate("GET", f"/admin/payments?account_id={customer.id}"))["data"]
    back = {"reason": "asked for", "reference": "back"}
    path = f"/admin/payments/{came['payment_id']}/refund"
    await actors.operate("POST", path, back, key=str(uuid4()))
    sold = await told(customer, "credits.purchased")
    gone = await wait_for(lambda: told(customer, "payment.refunded"), "it is told", bool)
    named = [one["invoice_id"] for one in (listed, shown, known, *sold, *gone)]
    assert named == [bought["invoice_id"]] * 5


async def test_money_of_a_currency_before_is_booked_in_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    first, second, third = [
        await customer.buy("small", "manual", currency="EUR", key=str(uuid4())) for _ in range(3)
    ]
    await customer.advance(days=15)
    await customer.subscribed("basic")
    had = await customer.credits()

    sent = {"amount_cents": 999, "reference": f"TRX-{uuid4().hex[:10]}"}
    path = f"/admin/invoices/{first['invoice_id']}/record-payment"
    await actors.operate("POST", path, sent, key=str(uuid4()))
    await customer.until_purchase(first["purchase_id"], "completed")
    came = await submit(customer, second["invoice_id"])
    await decide(customer, came, "approve")
    await customer.until_purchase(second["purchase_id"], "completed")
    assert await customer.credits() == had + 200

    # Too little for the pack is kept, and can be given back.
    came = await submit(customer, third["invoice_id"])
    await decide(customer, came, "approve", amount_minor=100)
    back = {"amount_cents": 100, "reason": "too little", "reference": "back"}
    path = f"/admin/payments/{came['payment_id']}/refund"
    await actors.operate("POST", path, back, key=str(uuid4()))
    assert await money(customer) == 0
    shown = await customer.ask("GET", "/billing/balance")
    assert (shown["currency"], shown["balance_cents"]) == ("USD", 0)
    await customer.advance(days=31)
    assert [one["amount"] for one in await customer.effects()] == [1900, 1900]
    await customer.top_up()
    paid = await customer.ask("POST", "/usage/record", CHARGED, key=str(uuid4()), status=201)
    assert (paid["billing_status"], paid["currency"]) == ("completed", "USD")


async def test_too_little_that_comes_late_leaves_the_coupon_to_others(actors: Actors) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", coupon=code)
    await customer.advance(days=2)
    came = await submit(customer, begun["invoice_id"])
    await decide(customer, came, "approve", amount_minor=1)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert await redeemed(actors, code) == 0


async def test_a_part_that_came_before_the_end_is_no_earlier_purchase(actors: Actors) -> None:
    """It is on the money balance again: the rest can be reported, with the coupon."""
    code = await coupon(actors, percent="20", first_purchase=True)
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual", coupon=code)
    await decide(customer, await submit(customer, begun["invoice_id"], amount=400), "approve")
    await customer.advance(days=15)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert (await money(customer), await redeemed(actors, code)) == (400, 0)

    came = await submit(customer, begun["invoice_id"], amount=399)

    await decide(customer, came, "approve")
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert (await money(customer), await redeemed(actors, code)) == (0, 1)
    problem = await customer.call("POST", "/billing/purchases", {"pack": "small", "coupon": code})
    assert problem.json()["code"] == "INVALID_COUPON", "now there is an earlier one"


async def test_money_kept_before_another_transfer_bought_the_pack_is_given_back_alone(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    await customer.advance(days=15)
    kept = await submit(customer, begun["invoice_id"])
    await decide(customer, kept, "approve", amount_minor=990)
    came = await submit(customer, begun["invoice_id"])
    await decide(customer, came, "approve")
    assert await customer.credits() == 100
    assert await money(customer) == 990
    bought = await customer.until_purchase(begun["purchase_id"], "completed")
    paid = await invoice_of(customer, bought["invoice_id"])
    assert [one["payment_id"] for one in paid["payments"]] == [came["payment_id"]]
    listed = (await customer.ask("GET", "/billing/payments"))["data"]
    assert {one["payment_id"]: one["invoice_id"] for one in listed} == {
        kept["payment_id"]: begun["invoice_id"], came["payment_id"]: bought["invoice_id"],
    }  # fmt: skip
    path, back = f"/admin/payments/{kept['payment_id']}/refund", {"reason": "too little"}
    await actors.operate("POST", path, back, key=str(uuid4()))
    assert await customer.credits() == 100
    assert await money(customer) == 0
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "completed"
    assert (await customer.ask("GET", "/billing/credit-notes"))["data"] == []
