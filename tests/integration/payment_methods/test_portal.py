"""The provider's portal: opened once per key, and what is done there comes back."""

from tests.integration.payment_methods.conftest import Cardholder

PORTAL = "/billing/portal-session"


async def test_a_card_that_is_removed_in_the_portal_is_gone_here(customer: Cardholder) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    body = {"return_url": "https://shop.example/cards"}
    opened = await customer.ask("POST", PORTAL, body, key="visit", status=201)
    assert opened["status"] == "open"
    assert await customer.ask("POST", PORTAL, body, key="visit") == opened
    sessions = [one for one in await customer.requests() if "billing_portal" in str(one)]
    assert len(sessions) == 1

    client = customer.actors.client
    page = await client.get(opened["url"])
    assert "https://shop.example/cards" in page.text
    reference = await customer.reference()
    removed = await client.post(opened["url"], data={"method": reference})
    assert removed.status_code == 200
    left = await customer.eventually(lambda methods: len(methods) == 1)
    assert left[0]["id"] == first["id"] != second["id"]
    assert "payment_method.detached" in await customer.audit()


async def test_a_provider_that_refuses_opens_no_portal(customer: Cardholder) -> None:
    await customer.save_card()
    sandbox = customer.actors.sandbox
    await sandbox.fault(
        "error_429",
        method="POST",
        path="/v1/billing_portal",
        customer=await customer.stripe_customer(),
    )
    opened = await customer.ask("POST", PORTAL, key="k", status=201)
    assert opened["url"], "busy is asked again"


async def test_the_portal_is_for_those_who_may_pay(customer: Cardholder) -> None:
    answer = await customer.call("POST", PORTAL, {}, role="member")
    assert answer.status_code == 403
    await customer.refused("VALIDATION_FAILED", "POST", PORTAL, {"return_url": "javascript:x"})
