"""Payments listed and read: their fields, their states, both spellings of canceled."""

from tests.integration.actors import Customer, wait_for

LIST = "/billing/payments"


async def test_a_payment_shows_its_fields(customer: Customer) -> None:
    bought = await customer.bought()
    listed = await customer.ask("GET", LIST, status=200)
    [payment] = listed["data"]
    assert payment["invoice_id"] == bought["invoice_id"]
    assert payment["user"] == customer.id
    assert payment["subscription"] is None
    assert (payment["status"], payment["payment_method"]) == ("succeeded", "card")
    assert (payment["amount"], payment["amount_received"], payment["currency"]) == (999, 999, "USD")
    assert payment["stripe_payment_intent_id"].startswith("pi_")
    assert payment["paid_at"] is not None
    assert (payment["failure_code"], payment["failure_message"]) == (None, None)
    assert "client_secret" not in payment
    assert await customer.ask("GET", f"{LIST}/{payment['payment_id']}", status=200) == payment
    assert await customer.ask("GET", f"{LIST}/", status=200) == listed, "a slash more"


async def test_a_subscriptions_payment_names_it(customer: Customer) -> None:
    subscription = await customer.subscribed("basic")
    [payment] = (await customer.ask("GET", LIST))["data"]
    assert payment["subscription"] == subscription["subscription_id"]


async def test_a_failure_has_a_code_for_machines_and_words_for_people(customer: Customer) -> None:
    begun = await customer.buy("small")
    assert (await customer.confirm(begun, "pm_card_visa_chargeDeclined")).status == 402
    invoice = f"/billing/invoices/{begun['invoice_id']}"

    async def failure() -> str | None:
        [payment] = (await customer.ask("GET", invoice))["payments"]
        code: str | None = payment["failure_code"]
        return code

    assert await wait_for(failure, "the decline is known") == "generic_decline"
    [payment] = (await customer.ask("GET", LIST))["data"]
    assert payment["status"] == "pending"
    assert payment["failure_message"] == "Your card was declined."


async def test_the_list_is_cut_by_status_in_either_spelling(customer: Customer) -> None:
    await customer.bought()
    begun = await customer.buy("small")
    body = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "cash",
        "transaction_reference": "TRX-1",
    }
    await customer.ask("POST", f"{LIST}/manual", body, status=201)
    counts = {
        status: len((await customer.ask("GET", f"{LIST}?status={status}"))["data"])
        for status in ("succeeded", "canceled", "cancelled", "pending_approval", "completed")
    }
    assert counts == {
        "succeeded": 1, "canceled": 1, "cancelled": 1, "pending_approval": 1, "completed": 0,
    }  # fmt: skip
    await customer.refused("VALIDATION_FAILED", "GET", f"{LIST}?status=lost")


async def test_an_unknown_payment_is_not_found(customer: Customer) -> None:
    for name in ("pay_00000000000000000000000000", "nonsense"):
        await customer.refused("PAYMENT_NOT_FOUND", "GET", f"{LIST}/{name}")
