"""Payers alone read the secrets of their payments; nobody writes a card's number."""

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.payments.manual_payments import SUBMIT, invoice_of

CARD = "4242 4242 4242 4242"


async def shown_to(customer: Customer, role: str, path: str) -> Json:
    """The next action, as a caller of this role reads it."""
    answer = (await customer.call("GET", path, role=role)).json()
    found: Json = (answer["data"][0] if "data" in answer else answer)["next_action"]
    return found


async def test_a_member_reads_what_is_to_be_done_and_no_secret(customer: Customer) -> None:
    bought = await customer.buy()
    begun = await customer.subscribe("basic")
    for path in (
        "/billing/purchases",
        f"/billing/purchases/{bought['purchase_id']}",
        f"/billing/invoices/{bought['invoice_id']}",
        f"/billing/invoices/{begun['latest_invoice_id']}",
        "/billing/subscription",
    ):
        assert await shown_to(customer, "member", path) == {"type": "confirm_card"}
        assert (await shown_to(customer, "billing", path))["client_secret"].startswith("pi_")


async def test_a_member_reads_no_address_of_a_payment_page(customer: Customer) -> None:
    bought = await customer.buy(flow="checkout")
    assert bought["checkout_url"] is not None
    for path in (f"/billing/purchases/{bought['purchase_id']}", "/billing/purchases"):
        shown = {}
        for role in ("member", "billing"):
            answer = (await customer.call("GET", path, role=role)).json()
            shown[role] = (answer["data"][0] if "data" in answer else answer)["checkout_url"]
        assert shown == {"member": None, "billing": bought["checkout_url"]}


async def test_a_member_reads_no_payment_page_and_no_caller_in_a_proof(
    customer: Customer,
) -> None:
    bought = await customer.buy(flow="checkout", key="order-1")
    page = bought["checkout_url"].rpartition("/")[2]
    shown, asked = {}, {}
    for role in ("member", "billing"):
        answer = await customer.call(
            "GET", f"/billing/purchases/{bought['purchase_id']}/proof", role=role
        )
        shown[role] = answer.json()["payments"][0]["provider_session"]
        request = answer.json()["request"]
        asked[role] = (request["actor"], request["idempotency_key_hash"])
        assert (page in answer.text) == (role == "billing")
    assert shown == {"member": None, "billing": page}
    assert asked["billing"][0].startswith("billing:")
    assert asked["billing"][1]
    assert asked["member"] == ("billing", None)


async def test_the_invoice_of_a_pack_bought_by_hand_says_how_to_pay_it(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    invoice = await invoice_of(customer, begun["invoice_id"])
    assert invoice["next_action"] == begun["next_action"]


async def test_the_invoice_that_is_sent_says_what_the_subscription_says(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe_by_transfer()
    invoice = await invoice_of(customer, begun["latest_invoice_id"])
    assert invoice["next_action"] == begun["next_action"]
    assert invoice["next_action"]["type"] == "manual"


@pytest.mark.parametrize("field", ["payment_method", "transaction_reference"])
async def test_a_card_number_in_a_manual_payment_is_never_kept(
    customer: Customer, field: str
) -> None:
    begun = await customer.buy("small", "manual")
    body = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "bank_transfer",
        "transaction_reference": "TRX-1",
    }
    problem = await customer.refused("VALIDATION_FAILED", "POST", SUBMIT, body | {field: CARD})
    assert [error["field"] for error in problem["errors"]] == [field]
    assert CARD not in str(problem)
    assert await customer.rows("SELECT * FROM payments WHERE account_id = %(me)s") == []


async def test_a_card_number_is_no_comment_and_no_label(customer: Customer) -> None:
    method = await customer.save_card()
    await customer.subscribe("basic")
    path = f"/billing/payment-methods/{method['id']}"
    await customer.refused("VALIDATION_FAILED", "PATCH", path, {"label": CARD})
    body = {"at": "period_end", "comment": f"charge {CARD} instead"}
    await customer.refused("VALIDATION_FAILED", "POST", "/billing/subscription/cancel", body)


async def test_a_subscription_says_why_its_card_did_not_pay(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    await customer.script("insufficient_funds", then="normal")
    begun = await customer.subscribe("basic")
    assert (begun["status"], begun["next_action"]["type"]) == ("incomplete", "confirm_card")
    declined = begun["latest_decline"]
    assert (declined["decline_code"], declined["decline_class"]) == ("insufficient_funds", "soft")
    await customer.pay(begun)
    assert (await customer.until_subscription("active"))["latest_decline"] is None


async def test_it_says_so_too_when_a_slot_had_no_card_to_try(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("basic")
    await customer.script("lost_card", then="last")
    for days in (31, 3, 4, 1):
        await customer.advance(days=days)
        seen = await customer.subscription()
        assert seen["latest_decline"]["decline_code"] == "lost_card", seen["status"]
        case = (await customer.ask("GET", "/billing"))["dunning"]
        assert case is None or case["attempts_made"] == 1
