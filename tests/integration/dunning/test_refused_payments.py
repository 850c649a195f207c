"""A customer who was deleted in the provider's dashboard: no payment of his is opened any more."""

import httpx2

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.dunning.dunning_setup import RENEWAL, START, attempts, case, owed
from tests.integration.payments.manual_payments import decide, submit


async def forgotten(customer: Customer) -> None:
    """The provider's customer is deleted, and we still believe in his card."""
    owner = await customer.stripe_customer()
    async with httpx2.AsyncClient(
        base_url=customer.actors.sandbox.base_url, trust_env=False
    ) as client:
        key = {"Authorization": "Bearer sk_test_sandbox"}
        assert (await client.delete(f"/v1/customers/{owner}", headers=key)).status_code == 200
    ours = "FROM payment_methods WHERE account_id = %(me)s AND status = 'detached'"
    await wait_for(lambda: customer.rows(f"SELECT 1 {ours}"), "his card is gone")
    await customer.rows(
        "UPDATE payment_methods SET status = 'active', is_default = true WHERE account_id = %(me)s"
    )


async def test_a_refusal_to_open_payments_leaves_the_subscription_past_due(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await forgotten(customer)
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "unreached")]
    assert (await customer.subscription())["status"] == "past_due"
    assert (await case(customer))["status"] == "open"

    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.refused("PLATFORM_ERROR", "POST", pay, {}, key="saved")
    body = {"payment_method": "card"}
    await customer.refused("PLATFORM_ERROR", "POST", pay, body, key="browser")

    await customer.advance(to="2027-02-04T10:00:00Z")
    assert [one for one in await attempts(customer) if "attempt" in one[0]] == [
        ("attempt-0", "unreached"), ("attempt-1", "unreached"),
    ]  # fmt: skip
    assert len(await customer.effects()) == 1, "the first payment, and nothing since"


async def test_a_first_payment_that_a_transfer_may_bring_waits_whatever_no_card_opens(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await forgotten(customer)
    begun = await customer.subscribe_by_transfer("basic")
    pay = f"/billing/invoices/{begun['latest_invoice_id']}/pay"
    for way, body in (("saved", {}), ("browser", {"payment_method": "card"})):
        await customer.refused("PLATFORM_ERROR", "POST", pay, body, key=way)
        assert (await customer.subscription())["status"] == "incomplete"
    payment = await submit(customer, begun["latest_invoice_id"])
    await decide(customer, payment, "approve")
    await customer.until_subscription("active")


async def test_a_refusal_to_open_the_first_payment_is_told_and_nothing_is_left(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await forgotten(customer)
    for way in ("default", "card"):
        wish = {"plan": "pro", "trial": False, "payment_method": way}
        await customer.refused("PLATFORM_ERROR", "POST", "/billing/subscription", wish, key=way)
        ended = await customer.subscription()
        assert ended["status"] == "incomplete_expired"
        assert [one["status"] for one in await customer.invoices()][-1] == "void"
    assert await customer.effects(None) == []
