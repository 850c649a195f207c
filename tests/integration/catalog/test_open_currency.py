"""The currency of an account that has not paid: its open subscription's, and open after its end."""

from functools import partial

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.coupons.coupons_made import coupon
from tests.integration.operator_acts import check_books, give
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.payments.test_money_balance import adjust
from tests.integration.waiting import wait_for

START = "2027-01-01T10:00:00Z"
CANCEL = "/billing/subscription/cancel"
PACK: Json = {"pack": "small", "payment_method": "manual", "currency": "EUR"}


async def currency_of(customer: Customer) -> str | None:
    """The currency that is kept for the account."""
    (row,) = await customer.rows("SELECT currency FROM credit_balances WHERE account_id = %(me)s")
    known: str | None = row["currency"]
    return known


@pytest.mark.parametrize("wish", [{"plan": "free"}, {"plan": "pro", "trial": True}])
async def test_a_subscription_that_charged_nothing_holds_the_currency_until_its_end(
    actors: Actors, wish: Json
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.ask("POST", "/billing/subscription", wish, status=201)
    await customer.refused("CURRENCY_MISMATCH", "POST", "/billing/purchases", PACK, key="open")

    await customer.ask("POST", CANCEL, {"at": "now"}, status=200)

    assert await currency_of(customer) is None
    begun = await customer.ask("POST", "/billing/purchases", PACK, key="ended")
    assert (begun["currency"], await currency_of(customer)) == ("EUR", "EUR")


async def test_a_trial_that_ends_by_itself_leaves_the_currency_open(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("pro", trial=True)
    await customer.advance(days=15)
    assert (await customer.subscription())["status"] == "canceled"
    assert await currency_of(customer) is None
    await customer.subscribed("pro", currency="EUR")


async def test_terms_of_payment_that_nobody_took_up_leave_the_currency_open(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe_by_transfer()
    await customer.ask("POST", CANCEL, {"at": "now"}, status=200)
    assert await currency_of(customer) is None


async def test_a_pack_that_waits_for_its_transfer_holds_the_currency(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("pro", trial=True)
    pack = PACK | {"currency": "USD"}
    invoice = (await customer.ask("POST", "/billing/purchases", pack, key="pack"))["invoice_id"]
    await customer.ask("POST", CANCEL, {"at": "now"}, status=200)
    assert await currency_of(customer) == "USD"
    await customer.rows("UPDATE credit_balances SET currency = NULL WHERE account_id = %(me)s")
    await submit(customer, invoice)
    assert await currency_of(customer) == "USD", "money that was sent fixes it at the latest"


async def test_top_ups_that_are_on_hold_the_currency(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("pro", trial=True, currency="EUR")
    path, body = "/billing/credits/auto-top-up", {"threshold": "0.01", "pack": "small"}
    await customer.ask("PUT", path, body, status=200)
    await customer.ask("POST", CANCEL, {"at": "now"}, status=200)
    assert await currency_of(customer) == "EUR"


async def test_top_ups_of_an_account_that_has_bought_nothing_fix_its_currency(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await give(customer, "1")  # so that none are bought at once
    path, body = "/billing/credits/auto-top-up", {"threshold": "0.01", "pack": "small"}
    for is_enabled, currency in ((False, None), (True, "USD"), (False, None)):
        await customer.ask("PUT", path, body | {"is_enabled": is_enabled}, status=200)
        assert await currency_of(customer) == currency


async def test_a_payment_or_money_on_the_balance_fixes_the_currency(actors: Actors) -> None:
    paid, given = [await actors.customer_on_clock(START) for _ in range(2)]
    await paid.subscribed("basic")
    await paid.ask("POST", CANCEL, {"at": "now"}, status=200)
    await given.subscribe("free")
    await adjust(given, 500)
    await given.ask("POST", CANCEL, {"at": "now"}, status=200)
    assert [await currency_of(one) for one in (paid, given)] == ["USD", "USD"]
    wish = {"plan": "basic", "currency": "EUR"}
    refused = await given.refused("CURRENCY_MISMATCH", "POST", "/billing/subscription", wish)
    assert refused["detail"] == "the account pays in USD", "basic is sold in both"


async def test_money_that_is_taken_back_leaves_the_currency_open(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    path = f"/admin/accounts/{customer.id}/balance/adjust"
    slip = {"amount_cents": 500, "currency": "UDS", "reason": "goodwill"}
    await actors.operate("POST", path, slip, key="slip", status=422)
    await adjust(customer, 500)
    assert await currency_of(customer) == "USD"
    await adjust(customer, -500)
    assert await currency_of(customer) is None
    await adjust(customer, 500, currency="EUR")
    assert await currency_of(customer) == "EUR"
    await check_books(customer)


async def test_a_first_payment_that_nobody_makes_leaves_the_currency_open(actors: Actors) -> None:
    expired, canceled = [await actors.customer_on_clock(START) for _ in range(2)]
    for one in (expired, canceled):
        await one.subscribe("pro", currency="EUR")
        assert await currency_of(one) == "EUR"
    await canceled.ask("POST", CANCEL, {"at": "now"}, status=200)
    await expired.advance(days=2)
    assert (await expired.subscription())["status"] == "incomplete_expired"
    assert "evt.billing.subscription.incomplete_expired" in await expired.published()
    for one in (expired, canceled):
        await wait_for(partial(currency_of, one), "it is open again", lambda seen: seen is None)
        await one.subscribed("pro", currency="USD")


@pytest.mark.parametrize("flow", ["card", "checkout", "saved_card"])
async def test_a_pack_that_no_card_paid_leaves_the_currency_open(actors: Actors, flow: str) -> None:
    customer = await actors.customer_on_clock(START)
    if flow == "saved_card":
        await customer.save_card("pm_card_chargeCustomerFail")
        body = {"pack": "small", "payment_method": flow, "currency": "EUR"}
        await customer.refused("CARD_DECLINED", "POST", "/billing/purchases", body, key="pack")
    else:
        await customer.buy("small", flow, currency="EUR")
        assert await currency_of(customer) == "EUR"
        await customer.advance(days=2)
    assert await currency_of(customer) is None
    await customer.subscribed("pro", currency="USD")


async def test_a_late_report_that_is_rejected_leaves_the_currency_open(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.ask("POST", "/billing/purchases", PACK, key="pack")
    await customer.advance(days=15)
    came = await submit(customer, begun["invoice_id"])
    assert await currency_of(customer) == "EUR"
    await decide(customer, came, "reject", reason="nothing came")
    assert await currency_of(customer) is None


async def test_money_that_comes_late_by_a_pay_page_is_booked_in_its_currency(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    late = await customer.buy("small", "checkout", currency="EUR")
    await customer.restored_as_expired(late["purchase_id"])
    await customer.rows(
        "UPDATE invoices SET voided_at = created_at + interval '1 hour'"
        " WHERE account_id = %(me)s AND status = 'void'"
    )
    await customer.rows("UPDATE credit_balances SET currency = NULL WHERE account_id = %(me)s")
    await customer.subscribed("basic", currency="USD")
    had = await customer.credits()

    session = late["checkout_url"].rpartition("/")[2]
    assert (await actors.sandbox.pay_session(session)).status == 200
    await customer.until_purchase(late["purchase_id"], "completed")

    assert await customer.credits() == had + 100
    paid = [(one["currency"], one["status"]) for one in await customer.invoices()]
    assert ("EUR", "paid") in paid
    assert await currency_of(customer) == "USD"
    await check_books(customer)


async def test_a_pack_that_nobody_paid_leaves_the_currency_open(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.ask("POST", "/billing/purchases", PACK, key="pack")
    assert await currency_of(customer) == "EUR"
    await customer.advance(days=15)
    assert await currency_of(customer) is None
    await customer.subscribed("pro")


async def test_a_pack_that_cost_nothing_leaves_the_currency_open(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    code = await coupon(actors, percent="100")
    free = PACK | {"coupon": code}
    assert (await customer.ask("POST", "/billing/purchases", free))["status"] == "completed"
    assert await currency_of(customer) is None


async def test_a_pack_that_was_not_paid_leaves_the_currency_of_what_is_open(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.ask("POST", "/billing/subscription", {"plan": "free"}, status=201)
    await customer.ask("POST", "/billing/purchases", PACK | {"currency": "USD"})
    await customer.advance(days=15)
    assert await currency_of(customer) == "USD"
