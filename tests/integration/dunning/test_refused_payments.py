"""A customer who was deleted in the provider's dashboard: no payment of his is opened any more."""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.health import rules, store
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.dashboard import delete_customer, remove_card
from tests.integration.dunning.dunning_setup import RENEWAL, START, attempts, case, owed


async def forgotten(customer: Customer) -> None:
    """The provider's customer is deleted, and we still believe in his card."""
    await delete_customer(customer)
    await believed(customer)


async def removed(customer: Customer) -> None:
    """The provider's only card of the customer is removed, and we still believe in it."""
    (card,) = await customer.rows(
        "SELECT stripe_payment_method_id AS id FROM payment_methods WHERE account_id = %(me)s"
    )
    await remove_card(customer, card["id"])
    await believed(customer)


async def believed(customer: Customer) -> None:
    """Our rows have the card as it was before the provider told us that it is gone."""
    ours = "FROM payment_methods WHERE account_id = %(me)s AND status = 'detached'"
    await wait_for(lambda: customer.rows(f"SELECT 1 {ours}"), "his card is gone")
    await customer.rows(
        "UPDATE payment_methods SET status = 'active', is_default = true WHERE account_id = %(me)s"
    )


async def replaced(customer: Customer, before: str) -> bool:
    """Return True if the account has another customer at the provider."""
    return await customer.stripe_customer() != before


async def test_a_deleted_customer_is_a_decline_and_a_new_card_cures_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    before = await customer.stripe_customer()
    await forgotten(customer)
    await customer.advance(to=RENEWAL)

    assert await attempts(customer) == [("attempt-0", "declined")]
    (failed,) = (await case(customer))["attempts"]
    assert (failed["decline_code"], failed["decline_class"]) == ("customer_gone", "hard")
    assert "save a card again" in failed["message"]
    assert (await customer.subscription())["status"] == "past_due"
    assert (await customer.ask("GET", "/billing/payment-methods"))["data"] == []
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.refused("PAYMENT_METHOD_REQUIRED", "POST", pay, {}, key="saved")
    assert await customer.rows(
        "SELECT 1 FROM billing_audit WHERE account_id = %(me)s"
        f" AND action = 'account.customer_gone' AND detail ->> 'customer_id' = '{before}'"
    )

    await customer.save_card()
    await customer.until_subscription("active")
    assert await replaced(customer, before)
    assert len(await customer.effects()) == 2


async def test_a_payment_that_waits_at_the_deleted_customer_gives_way_to_a_new_card(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    before = await customer.stripe_customer()
    await customer.script("insufficient_funds")
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "declined")]
    await forgotten(customer)

    await customer.save_card("pm_card_mastercard")

    await customer.until_subscription("active")
    assert await replaced(customer, before)
    assert len(await customer.effects()) == 2


async def test_a_payer_who_pays_in_the_browser_needs_no_second_request(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    before = await customer.stripe_customer()
    await forgotten(customer)
    await customer.advance(to=RENEWAL)
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    offered = await customer.ask("POST", pay, {"payment_method": "card"}, key="browser")
    assert offered["next_action"]["type"] == "confirm_card"
    assert await replaced(customer, before)


async def test_a_first_payment_by_a_lost_card_is_declined_and_the_next_one_is_offered(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await forgotten(customer)
    wish = {"plan": "pro", "trial": False, "payment_method": "default"}
    answer = await customer.call("POST", "/billing/subscription", wish, key="default")
    assert (answer.status_code, answer.json()["code"]) == (402, "CARD_DECLINED")
    assert answer.json()["decline_code"] == "customer_gone"
    assert (await customer.subscription())["status"] == "incomplete_expired"

    wish["payment_method"] = "card"
    begun = await customer.ask("POST", "/billing/subscription", wish, key="card", status=201)
    assert begun["next_action"]["type"] == "confirm_card"


async def test_a_purchase_by_a_lost_card_is_declined_and_the_next_one_is_offered(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await forgotten(customer)
    wish = {"pack": "small", "payment_method": "saved_card"}
    answer = await customer.call("POST", "/billing/purchases", wish, key="saved")
    assert (answer.status_code, answer.json()["code"]) == (402, "CARD_DECLINED"), answer.text
    assert answer.json()["decline_code"] == "customer_gone"
    assert (
        await customer.rows(
            "SELECT 1 FROM payment_attempts WHERE account_id = %(me)s AND status = 'pending'"
        )
        == []
    )


async def test_a_card_that_was_removed_unheard_is_a_decline(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await removed(customer)
    await customer.advance(to=RENEWAL)

    assert await attempts(customer) == [("attempt-0", "declined")]
    (failed,) = (await case(customer))["attempts"]
    assert (failed["decline_code"], failed["decline_class"]) == ("card_gone", "hard")
    await customer.rows(
        "UPDATE payment_methods SET status = 'detached', is_default = false"
        " WHERE account_id = %(me)s"
    )
    await customer.save_card("pm_card_mastercard")
    await customer.until_subscription("active")
    assert len(await customer.effects()) == 2


async def test_a_key_that_does_not_know_the_customer_forgets_nobody(
    actors: Actors, superuser: AsyncConnection
) -> None:
    """A key of another account at the provider, or of its other mode, knows none of ours."""

    async def told() -> str | None:
        signs = rules.signs(await store.look(superuser))
        (sign,) = (one for one in signs if one.name == "provider keys")
        return sign.words if "does not know our cus_ofAnotherAccount" in sign.words else None

    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    ours = await customer.stripe_customer()
    renamed = "UPDATE accounts SET stripe_customer_id = {} WHERE id = %(me)s"
    await customer.rows(renamed.format("'cus_ofAnotherAccount'"))
    wish = {"pack": "small", "payment_method": "saved_card"}
    answer = await customer.call("POST", "/billing/purchases", wish, key="saved")
    assert answer.status_code in {202, 503}, answer.text
    assert await customer.stripe_customer() == "cus_ofAnotherAccount"
    assert len((await customer.ask("GET", "/billing/payment-methods"))["data"]) == 1
    await wait_for(told, "the worker's next heartbeat tells it")

    await customer.rows(renamed.format(f"'{ours}'"))
    paid = (
        "SELECT 1 FROM payments WHERE account_id = %(me)s AND status IN ('succeeded', 'completed')"
    )
    await wait_for(lambda: customer.rows(paid), "the purchase goes on")
    assert len(await customer.effects()) == 1
