"""Payments listed and read: their fields, their states, both spellings of canceled."""

from tests.integration.actors import Actors, Customer, intent_of, wait_for
from tests.integration.changes.chosen_plans import told
from tests.integration.dunning.dunning_setup import RENEWAL, START, overdue, owed
from tests.integration.payments.manual_payments import invoice_of, submit
from tests.integration.reversals.refunds_made import refunded

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


async def test_a_payment_says_of_which_kind_its_method_is_and_whose(actors: Actors) -> None:
    customer = await actors.customer()
    card = await customer.save_card()
    await customer.buy("small", "saved_card")
    await customer.save_card("pm_usBankAccount_success", make_default=True)
    await customer.buy("small", "saved_card")
    await customer.buy("small", "card")
    await customer.buy("small", "paypal", return_url="https://shop.example/back")
    by_hand = await customer.buy("small", "manual")
    await submit(customer, by_hand["invoice_id"], payment_method="Bank transfer")
    other = await customer.buy("small", "manual")
    await submit(customer, other["invoice_id"], payment_method="cash")
    path = f"/billing/payment-methods/{card['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"}, status=200)

    listed = (await customer.ask("GET", LIST))["data"]
    seen = [(one["payment_method_type"], one["provider"]) for one in reversed(listed)]
    assert seen == [
        ("card", "stripe"), ("other", "stripe"), (None, "stripe"), ("other", "paypal"),
        ("bank_transfer", "manual"), ("other", "manual"),
    ]  # fmt: skip
    parts = [await invoice_of(customer, one["invoice_id"]) for one in listed]
    assert [one["payments"][0] for one in parts] == listed


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
    failed, waiting = (await customer.ask("GET", LIST))["data"]
    assert (failed["status"], waiting["status"]) == ("failed", "pending")
    assert failed["failure_message"] == "Your card was declined."
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    kept, paid = (await customer.ask("GET", LIST))["data"]
    assert (kept, paid["status"]) == (failed, "succeeded"), "what failed stays failed"


async def test_each_try_of_a_debt_is_a_payment_that_failed_for_ever(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "generic_decline", "succeed")
    await customer.advance(days=4)

    async def failed() -> list[tuple[str, str, int]]:
        listed = await customer.ask("GET", f"{LIST}?status=failed")
        return [
            (one["failure_code"], one["failure_message"], one["amount"]) for one in listed["data"]
        ]

    seen = [
        ("generic_decline", "Your card was declined.", 4900),
        ("insufficient_funds", "Your card has insufficient funds.", 4900),
    ]
    assert await failed() == seen
    assert [one["status"] for one in (await customer.ask("GET", LIST))["data"]] == [
        "failed", "failed", "succeeded",
    ]  # fmt: skip

    await customer.advance(days=4)

    assert (await customer.subscription())["status"] == "active"
    assert await failed() == seen
    first = await customer.ask("GET", f"{LIST}?limit=2")
    more = await customer.ask("GET", f"{LIST}?limit=2&cursor={first['pagination']['next_cursor']}")
    listed = [*first["data"], *more["data"]]
    assert sorted(one["status"] for one in listed) == ["failed", "failed", "succeeded", "succeeded"]
    second = await customer.ask("GET", f"{LIST}?limit=2&page=2")
    assert (second["data"], second["pagination"]["total"]) == (more["data"], 4)
    assert len({(one["payment_id"], one["attempt_id"]) for one in listed}) == 4
    assert {one["amount_refunded"] for one in listed} == {0}
    tries = [one["attempt_id"] for one in listed if one["status"] == "failed"]
    assert [one["attempt_id"] for one in await told(customer, "payment.failed")] == tries[::-1]

    paid = next(one for one in listed if one["status"] == "succeeded")
    await refunded(customer, paid)
    listed = (await customer.ask("GET", LIST))["data"]
    assert [one["amount_refunded"] for one in listed if one["status"] == "failed"] == [0, 0]
    assert sum(one["amount_refunded"] for one in listed) == 4900


async def test_a_try_of_a_saved_card_stays_one_when_its_payer_asks_for_another_card(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds")
    before = (await customer.ask("GET", f"{LIST}?status=failed"))["data"]
    assert [one["payment_method"] for one in before] == ["saved_card"]
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", pay, {"payment_method": "card"}, key="k", status=200)
    assert (await customer.ask("GET", f"{LIST}?status=failed"))["data"] == before


async def test_a_try_that_its_payer_did_not_confirm_has_failed_for_ever(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("authentication_required")
    begun = await customer.buy("small", "saved_card")
    await actors.sandbox.authenticate(intent_of(begun), passed=False)
    await customer.until_handled("payment_intent.payment_failed")
    [failed] = (await customer.ask("GET", LIST))["data"]
    assert (failed["status"], failed["failure_code"]) == (
        "failed",
        "payment_intent_authentication_failure",
    )
    assert failed["failure_message"]
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    kept, paid = (await customer.ask("GET", LIST))["data"]
    assert (kept, paid["status"]) == (failed, "succeeded")


async def test_each_confirmation_that_fails_in_the_browser_is_a_payment_that_failed(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small")
    assert (await customer.confirm(begun, "pm_card_visa_chargeDeclined")).status == 402
    unconfirmed = "payment_intent_authentication_failure"

    async def codes() -> list[str]:
        listed = (await customer.ask("GET", f"{LIST}?status=failed"))["data"]
        return [one["failure_code"] for one in listed]

    async def fail_to_confirm() -> None:
        await customer.confirm(begun, "pm_card_authenticationRequired")
        await actors.sandbox.authenticate(intent_of(begun), passed=False)

    await wait_for(codes, "the decline is known", lambda seen: seen == ["generic_decline"])
    await fail_to_confirm()
    once = [unconfirmed, "generic_decline"]
    await wait_for(codes, "the first failure is known", lambda seen: seen == once)
    await fail_to_confirm()
    twice = [unconfirmed, *once]
    await wait_for(codes, "the second failure is known", lambda seen: seen == twice)
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await codes() == twice
    listed = (await customer.ask("GET", f"{LIST}?status=failed"))["data"]
    tries = [one["attempt_id"] for one in listed]
    assert [one["attempt_id"] for one in await told(customer, "payment.failed")] == tries[::-1]


async def test_a_declined_purchase_is_one_payment_that_failed(customer: Customer) -> None:
    await customer.save_card()
    await customer.script("stolen_card")
    body = {"pack": "small", "payment_method": "saved_card"}
    await customer.refused("CARD_DECLINED", "POST", "/billing/purchases", body, key="k")
    [failed] = (await customer.ask("GET", LIST))["data"]
    assert (failed["status"], failed["failure_code"]) == ("failed", "stolen_card")
    [event] = await told(customer, "payment.failed")
    assert event["attempt_id"] == failed["attempt_id"] is not None


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


OURS = "the payment provider did not open a payment"


async def shown_apart(customer: Customer, theirs: str) -> None:
    """The newest payment was not opened: its customer reads our words, and operators Stripe's."""
    newest = (await customer.ask("GET", LIST))["data"][0]
    invoice = await customer.ask("GET", f"/billing/invoices/{newest['invoice_id']}")
    one = await customer.ask("GET", f"{LIST}/{newest['payment_id']}")
    for shown in (newest, invoice["payments"][-1], one):
        assert (shown["failure_code"], shown["failure_message"]) == ("provider_refused", OURS)
    listed = await customer.actors.operate("GET", f"/admin/payments?account_id={customer.id}")
    assert theirs in listed["data"][0]["failure_message"]


async def test_what_stripe_says_of_our_account_is_not_shown_to_the_buyer(actors: Actors) -> None:
    customer = await actors.customer()
    await actors.sandbox.fault(
        "error_400_stored",
        method="POST",
        path="/v1/payment_intents",
        metadata={"account": customer.id},
        times=None,
    )
    body = {"pack": "small", "payment_method": "card"}
    told = await customer.refused("PLATFORM_ERROR", "POST", "/billing/purchases", body, key="k")
    assert (await customer.purchase(told["purchase_id"]))["failure_message"] == OURS
    await shown_apart(customer, "Your account cannot currently make live charges")


async def test_what_stripe_says_of_our_request_is_not_shown_to_the_debtor(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    payer = await customer.stripe_customer()
    await actors.sandbox.script(payer, "amount_too_small", purpose="amount")
    await customer.advance(to=RENEWAL)
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.refused("PLATFORM_ERROR", "POST", path, {"payment_method": "card"}, key="k")
    await shown_apart(customer, "Amount must convert to at least")


async def test_after_a_502_the_same_key_begins_another_purchase_and_nothing_was_charged(
    actors: Actors,
) -> None:
    """Stripe had failed, and was said to have refused the request."""
    customer = await actors.customer()
    await customer.save_card()
    await actors.sandbox.fault(
        "error_500_stored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
    )
    body = {"pack": "small", "payment_method": "saved_card"}
    told = await customer.refused("PLATFORM_ERROR", "POST", "/billing/purchases", body, key="k")
    assert told["detail"] == (
        "the payment provider did not carry out the request; nothing was charged"
    )
    assert await customer.effects() == []
    again = await customer.ask("POST", "/billing/purchases", body, key="k", status=201)
    assert (again["status"], len(await customer.effects())) == ("completed", 1)
    assert again["purchase_id"] != told["purchase_id"]
    first = await customer.purchase(told["purchase_id"])
    assert (first["status"], first["failure_message"]) == (
        "failed",
        "the provider failed or could not be reached, and knows of no charge",
    )
