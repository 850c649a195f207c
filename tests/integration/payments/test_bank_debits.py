"""Bank accounts that are debited: the bank decides after days, and nobody is late until then."""

from typing import Final

import pytest

from tests.integration.actors import Actors, Customer, Json, instant, wait_for
from tests.integration.dunning.dunning_setup import RENEWAL, START, attempts, case, owed, tried
from tests.integration.invoices.test_documents import receipt_of

METHODS: Final = "/billing/payment-methods"


async def save_account(customer: Customer, account: str) -> Json:
    """Save a bank account as the default, as a browser and the API do it together."""
    saved = await customer.save_card(account, make_default=True)
    assert (saved["type"], saved["is_default"]) == ("other", True)
    return saved


async def debited(actors: Actors, account: str) -> Customer:
    """A subscription of a card whose first renewal is debited from an account, undecided."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await save_account(customer, account)
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "processing")]
    assert (await customer.subscription())["status"] == "active"
    return customer


async def with_backup(actors: Actors, account: str) -> tuple[Customer, str]:
    """A subscriber who pays from an account, and the card behind it as the backup."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    (card,) = (await customer.ask("GET", METHODS))["data"]
    await save_account(customer, account)
    await customer.ask("POST", f"{METHODS}/{card['id']}/backup", status=200)
    return customer, card["id"]


async def until_tries(customer: Customer, what: str, *tries: tuple[str, str]) -> None:
    """Wait until exactly these tries are on record."""
    await wait_for(lambda: attempts(customer), what, lambda seen: seen == list(tries))


async def settle(customer: Customer, outcome: str | None = None) -> None:
    """The bank has decided on the one debit that is under way."""
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments"
        " WHERE account_id = %(me)s AND status = 'processing'"
    )
    assert (await customer.actors.sandbox.settle(payment["intent"], outcome)).status == 200


async def test_a_renewal_is_paid_days_later_and_stays_active_meanwhile(actors: Actors) -> None:
    customer = await debited(actors, "pm_usBankAccount_success")
    shown = (await customer.ask("GET", METHODS))["data"][0]
    assert (shown["provider_type"], shown["brand"], shown["last4"], shown["exp_year"]) == (
        "us_bank_account", "TEST BANK", "6789", None,
    )  # fmt: skip
    invoice = (await owed(customer))["invoice_id"]
    await customer.refused(
        "PAYMENT_PENDING", "POST", f"/billing/invoices/{invoice}/pay", {}, key="k"
    )
    # Another card does not pay it a second time while the bank decides.
    await customer.save_card("pm_card_mastercard", make_default=True)
    await customer.advance(days=5)
    assert (await customer.subscription())["status"] == "active"
    assert await tried(customer) == 1, "the first payment, and nothing since"

    await settle(customer)
    await wait_for(
        lambda: customer.ask("GET", f"/billing/invoices/{invoice}"), "the invoice is paid",
        lambda seen: seen["status"] == "paid",
    )  # fmt: skip
    assert (await customer.subscription())["status"] == "active"
    assert "evt.billing.dunning.opened" not in await customer.published()
    assert len(await customer.effects()) == 2
    assert "Bank account ending in 6789" in await receipt_of(customer, invoice)


async def test_a_debit_that_fails_opens_dunning_on_the_day_it_failed(actors: Actors) -> None:
    customer = await debited(actors, "pm_usBankAccount_insufficientFunds")
    await customer.advance(days=4)
    await settle(customer)
    await customer.until_subscription("past_due")
    opened = await case(customer)
    assert instant(opened["opened_at"]) == instant("2027-02-05T10:00:00Z")
    assert instant(opened["next_at"]) == instant("2027-02-08T10:00:00Z"), "three days from then"
    await customer.advance(to="2027-02-08T10:00:00Z")
    assert (await attempts(customer))[-1] == ("attempt-1", "processing")
    path = "/billing/events?type=evt.billing.payment.processing"
    events = (await customer.ask("GET", path))["data"]
    assert [one["data"]["failure_code"] for one in events] == [None, None], "no try is failed here"
    [payment] = (await customer.ask("GET", "/billing/payments?status=processing"))["data"]
    assert (payment["failure_code"], payment["failure_message"]) == (None, None)
    await customer.advance(days=6)
    assert len(await attempts(customer)) == 2, "no slot runs while the bank decides"
    await settle(customer, "succeed")
    await customer.until_subscription("active")
    assert (await case(customer))["status"] == "recovered"


async def test_a_card_saved_while_the_bank_decides_is_tried_once_the_debit_has_failed(
    actors: Actors,
) -> None:
    customer = await debited(actors, "pm_usBankAccount_insufficientFunds")
    await customer.advance(days=1)
    card = await customer.save_card("pm_card_mastercard", make_default=True)
    await customer.advance(days=3)
    await settle(customer)
    charged = (f"card-{card['id']}", "succeeded")
    await until_tries(customer, "the card is charged", ("attempt-0", "declined"), charged)
    await customer.until_subscription("active")


async def test_a_card_that_pays_what_a_debit_did_not_is_kept(actors: Actors) -> None:
    customer = await debited(actors, "pm_usBankAccount_insufficientFunds")
    await customer.advance(days=4)
    await settle(customer)
    await customer.until_subscription("past_due")
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    offered = await customer.ask("POST", pay, {"payment_method": "card"}, key="k", status=200)
    await customer.pay(offered, "pm_card_mastercard")
    await customer.until_subscription("active")
    (default,) = await customer.rows(
        "SELECT brand FROM payment_methods WHERE account_id = %(me)s AND is_default"
    )
    assert default["brand"] == "mastercard"


async def cancel(customer: Customer) -> None:
    """The seller cancels the debit that is under way, at Stripe."""
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments"
        " WHERE account_id = %(me)s AND status = 'processing'"
    )
    assert (await customer.actors.sandbox.cancel(payment["intent"])).status == 200


async def test_a_debit_that_is_canceled_while_its_bank_decides_has_failed(actors: Actors) -> None:
    customer = await debited(actors, "pm_usBankAccount_success")
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    for number in ("1", "2", "3"):
        await cancel(customer)
        await wait_for(
            lambda: attempts(customer), "the debit has failed",
            lambda tries: tries[-1][1] == "declined",
        )  # fmt: skip
        if number != "3":
            await customer.ask("POST", pay, {}, key=number, status=202)
    await customer.until_subscription("past_due")
    tries = (await owed(customer))["attempts"]
    assert {one["decline_code"] for one in tries} == {"canceled"}
    assert all(one["finished_at"] for one in tries)
    problem = await customer.refused("CARD_DECLINED", "POST", pay, {}, key="4")
    assert problem["decline_code"] == "debits_returned", "each of them counts"


async def test_a_pack_whose_debit_is_canceled_is_not_granted(customer: Customer) -> None:
    await save_account(customer, "pm_usBankAccount_success")
    begun = await customer.buy("small", "saved_card")
    await cancel(customer)
    ended = await customer.until_purchase(begun["purchase_id"], "failed")
    assert ended["failure_code"] == "PAYMENT_CANCELED"
    rows = await customer.rows(
        "SELECT status, decline_code FROM payment_attempts WHERE account_id = %(me)s"
    )
    assert [(one["status"], one["decline_code"]) for one in rows] == [("declined", "canceled")]


async def test_an_account_is_debited_no_oftener_than_there_are_slots(actors: Actors) -> None:
    customer = await debited(actors, "pm_usBankAccount_insufficientFunds")
    await customer.advance(days=4)
    await settle(customer)
    await customer.until_subscription("past_due")
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    for number in ("1", "2"):
        await customer.ask("POST", pay, {}, key=number, status=202)
        await settle(customer)
        await wait_for(
            lambda: attempts(customer), "the debit has failed",
            lambda tries: tries[-1][1] == "declined",
        )  # fmt: skip
    problem = await customer.refused("CARD_DECLINED", "POST", pay, {}, key="3")
    assert problem["decline_code"] == "debits_returned"
    await customer.advance(days=9)
    assert (await attempts(customer))[3:] == [("attempt-1", "skipped"), ("attempt-2", "skipped")]
    assert (await customer.subscription())["status"] == "unpaid"


@pytest.mark.parametrize(
    ("account", "currency"), [("pm_usBankAccount_success", "USD"), ("pm_sepaDebit_success", "EUR")]
)
async def test_a_saved_account_pays_for_the_start_a_change_and_what_is_overdue(
    actors: Actors, account: str, currency: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await save_account(customer, account)
    begun = await customer.subscribe("basic", currency=currency)
    assert begun["next_action"] == {"type": "wait"}
    await settle(customer)
    await customer.until_subscription("active")

    await customer.ask("PUT", "/billing/subscription", {"plan": "pro"}, status=202)
    await settle(customer)
    await wait_for(
        customer.subscription, "the plan is another one",
        lambda seen: seen["plan"]["key"] == "pro",
    )  # fmt: skip

    await customer.advance(to=RENEWAL)
    await settle(customer, "insufficient_funds")
    await customer.until_subscription("past_due")
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", pay, {}, key="k", status=202)
    await settle(customer)
    await customer.until_subscription("active")
    assert [one["amount"] for one in await customer.effects()] == [1900, 3000, 4900]


async def test_a_closed_account_is_not_tried_again_and_the_backup_card_pays(
    actors: Actors,
) -> None:
    customer, card = await with_backup(actors, "pm_usBankAccount_accountClosed")
    await customer.advance(to=RENEWAL)
    await customer.advance(days=3)
    await settle(customer)
    charged = (f"backup-{card}", "succeeded")
    await until_tries(customer, "the backup card is charged", ("attempt-0", "declined"), charged)
    await customer.until_subscription("active")


@pytest.mark.parametrize(
    "word",
    [
        "bank_account_unusable", "payment_intent_mandate_invalid",
        "payment_method_unsupported_type",
    ],
)  # fmt: skip
async def test_an_account_that_stripe_debits_no_more_makes_way_for_the_backup_card(
    actors: Actors, word: str
) -> None:
    customer, card = await with_backup(actors, "pm_usBankAccount_success")
    (account,) = await customer.rows(
        "SELECT stripe_payment_method_id AS name FROM payment_methods"
        " WHERE account_id = %(me)s AND is_default"
    )
    await actors.sandbox.script(account["name"], word)
    await customer.advance(to=RENEWAL)
    charged = (f"backup-{card}", "succeeded")
    await until_tries(customer, "the backup card is charged", ("attempt-0", "declined"), charged)
    await customer.until_subscription("active")


async def test_an_account_is_debited_in_its_own_money_only(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    account = await save_account(customer, "pm_sepaDebit_success")
    assert account["provider_type"] == "sepa_debit"
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "skipped")]
    invoice = (await owed(customer))["invoice_id"]
    await customer.refused(
        "CURRENCY_NOT_CHARGED", "POST", f"/billing/invoices/{invoice}/pay", {}, key="k"
    )
    body = {"payment_method": "card"}
    asked = await customer.ask("POST", f"/billing/invoices/{invoice}/pay", body, key="l")
    await customer.pay(asked)
    await customer.until_subscription("active")


@pytest.mark.parametrize("kind", ["bacs_debit", "au_becs_debit", "nz_bank_account"])
async def test_an_account_of_a_kind_that_a_seller_added_at_stripe_is_debited_in_its_own_money_only(
    customer: Customer, kind: str
) -> None:
    await save_account(customer, "pm_usBankAccount_success")
    await customer.rows(
        "UPDATE payment_methods SET provider_kind = %(kind)s WHERE account_id = %(me)s"
        " RETURNING id",
        kind=kind,
    )
    pack = {"pack": "small", "payment_method": "saved_card"}
    await customer.refused("CURRENCY_NOT_CHARGED", "POST", "/billing/purchases", pack, key="pack")


async def test_a_pack_is_granted_when_the_bank_has_paid(customer: Customer) -> None:
    await save_account(customer, "pm_usBankAccount_success")
    begun = await customer.buy("small", "saved_card")
    assert (begun["status"], begun["next_action"]) == ("pending", {"type": "wait"})
    assert await customer.credits() == 0
    rows = await customer.rows(
        "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
    )
    await customer.actors.sandbox.settle(rows[0]["id"])
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await customer.credits() == 100


async def debited_page(customer: Customer, account: str) -> tuple[Json, str]:
    """A pack that is bought on a hosted page by a debit, undecided, and its intent."""
    begun = await customer.buy("small", "checkout")
    session = begun["checkout_url"].rpartition("/")[2]
    paid = await customer.actors.sandbox.pay_session(session, account)
    assert (paid.body["status"], paid.body["payment_status"]) == ("complete", "unpaid")
    (row,) = await wait_for(
        lambda: customer.rows(
            "SELECT stripe_payment_intent_id AS id FROM payments"
            " WHERE account_id = %(me)s AND status = 'processing'"
        ),
        "the bank is deciding",
    )
    return begun, row["id"]


async def test_a_page_paid_by_debit_brings_the_pack_when_the_bank_has_paid(
    customer: Customer,
) -> None:
    begun, intent = await debited_page(customer, "pm_usBankAccount_success")
    await customer.actors.sandbox.settle(intent)
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await customer.credits() == 100


async def test_a_page_whose_debit_fails_ends_its_purchase(customer: Customer) -> None:
    begun, intent = await debited_page(customer, "pm_usBankAccount_insufficientFunds")
    await customer.actors.sandbox.settle(intent)
    ended = await customer.until_purchase(begun["purchase_id"], "failed")
    assert ended["failure_code"] == "insufficient_funds", ended
    assert [one["status"] for one in await customer.invoices()] == ["void"]
    assert await customer.credits() == 0


async def test_an_account_in_other_money_is_refused_wherever_it_is_to_pay(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    account = await save_account(customer, "pm_sepaDebit_success")
    no = "CURRENCY_NOT_CHARGED"
    pack = {"pack": "small", "payment_method": "saved_card"}
    await customer.refused(no, "POST", "/billing/purchases", pack, key="pack")
    path, named = "/billing/subscription", {"payment_method_id": account["id"]}
    await customer.refused(no, "PUT", path, {"plan": "pro"} | named, key="up")
    await customer.refused(no, "PUT", f"{path}/payment-method", named)

    use = {"product_id": "gpt-4", "usage_amount": "1000"}
    quoted = await customer.ask("POST", "/billing/calculate", use)
    assert "payment_charge" not in quoted["available_billing_methods"]
    body = use | {"billing_method": "payment_charge", "event_id": "one"}
    await customer.refused("PAYMENT_CHARGE_NOT_OFFERED", "POST", "/usage/record", body)
    records = await customer.ask("GET", "/billing/records")
    assert records["data"] == [], "no use is written that nothing can pay"

    top_up = {"threshold": "100000", "pack": "small"}
    await customer.ask("PUT", "/billing/credits/auto-top-up", top_up, status=200)
    wished = await wait_for(
        lambda: customer.ask("GET", "/billing/credits/top-ups"), "the top-up has failed",
        lambda seen: seen["data"] and seen["data"][0]["status"] == "failed",
    )  # fmt: skip
    assert wished["data"][0]["reason"] == no
    assert len(await customer.effects(None)) == 1, "the first payment, and nothing since"


async def test_nobody_subscribes_with_an_account_in_other_money(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    account = await save_account(customer, "pm_sepaDebit_success")
    wish = {"plan": "basic", "trial": False}
    named = {"plan": "pro", "trial": True, "payment_method_id": account["id"]}
    for body in (wish, named):
        await customer.refused("CURRENCY_NOT_CHARGED", "POST", "/billing/subscription", body)
    await customer.refused("SUBSCRIPTION_NOT_FOUND", "GET", "/billing/subscription")
    assert (await customer.subscribe("basic", currency="EUR"))["next_action"]["type"] == "wait"
