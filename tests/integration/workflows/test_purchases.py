"""Credit packs bought through the running stack: every flow to the one grant."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from api.app import create_app
from billing.core import ids
from billing.core.database import open_database
from billing.money.purchases import service
from billing.money.purchases.schemas import NewPurchase
from tests.integration.actors import API, Actors, Customer, instant, intent_of
from tests.integration.api_app import Api, stack_settings
from workflows.client import connect


async def proven_once(customer: Customer, purchase_id: str, amount: int = 999) -> dict[str, Any]:
    """One charge at the sandbox, one grant, one numbered invoice; answers the purchase."""
    done = await customer.until_purchase(purchase_id, "completed")
    assert [effect["amount"] for effect in await customer.effects()] == [amount]
    assert [lot["grant_key"] for lot in await customer.grants()] == [f"{purchase_id}/grant"]
    paid = [invoice for invoice in await customer.invoices() if invoice["status"] == "paid"]
    assert [(invoice["total_minor"], invoice["number"] is None) for invoice in paid] == [
        (amount, False)
    ]
    told = await customer.published()
    assert "evt.billing.purchase.created" in told
    for kind in ("payment.succeeded", "credits.purchased"):
        assert told.count(f"evt.billing.{kind}") == 1
    return done


async def test_a_card_confirmed_in_the_browser_brings_the_credits(customer: Customer) -> None:
    begun = await customer.buy("small")
    assert begun["status"] == "pending"
    await customer.pay(begun)
    done = await proven_once(customer, begun["purchase_id"])
    assert done["next_action"] == {"type": "none"}
    assert await customer.credits() == 100
    (heard,) = await customer.rows(
        "SELECT extract(epoch FROM p.settled_at - e.received_at) AS seconds"
        " FROM payments p JOIN stripe_webhook_events e ON e.object_id = p.stripe_payment_intent_id"
        " WHERE p.account_id = %(me)s AND e.type = 'payment_intent.succeeded'"
    )
    assert heard["seconds"] < 30, "the webhook settles it, and no look a minute later"


async def test_a_request_that_meets_the_one_it_repeats_has_its_purchase(
    customer: Customer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send() -> httpx2.Response:
        headers = api.token(customer.id, ["billing"]) | {"Idempotency-Key": "k"}
        body = {"pack": "small"}
        return await api.client.post(f"{API}/billing/purchases", json=body, headers=headers)

    async def hangs(*_: Any, **__: Any) -> None:
        raise RuntimeError("it hangs, and its lease ends")

    with monkeypatch.context() as patched:
        patched.setattr(service, "start", hangs)
        assert (await send()).status_code == 500
    (kept,) = await customer.rows(
        "SELECT resource_id FROM billing_idempotency WHERE account_id = %(me)s AND key = 'k'"
    )
    settings = api.app.state.services.settings
    async with api.database.tenant(customer.uuid) as first:
        wanted = NewPurchase(pack="small", flow="card")
        await service.start(
            first, customer.uuid, wanted, purchase_id=kept["resource_id"], settings=settings
        )  # fmt: skip
        repeated = asyncio.create_task(send())
        await asyncio.wait([repeated], timeout=0.5)
        assert not repeated.done(), "it waits for the first"
    begun = await repeated
    assert (begun.status_code, begun.json()["purchase_id"]) == (
        201,
        ids.encode(ids.PURCHASE, kept["resource_id"]),
    )


async def test_a_saved_card_pays_at_once(customer: Customer) -> None:
    await customer.save_card()
    done = await customer.buy("medium", "saved_card")
    assert (done["status"], done["next_action"]) == ("completed", {"type": "none"})
    await proven_once(customer, done["purchase_id"], 3999)
    assert await customer.credits() == 500


async def test_a_declined_saved_card_fails_the_purchase_and_charges_nothing(
    customer: Customer,
) -> None:
    await customer.save_card()
    await customer.script("insufficient_funds")
    body = {"pack": "small", "payment_method": "saved_card"}
    problem = await customer.refused(
        "CARD_DECLINED", "POST", "/billing/purchases", body, key="one-wish"
    )
    assert (problem["decline_code"], problem["decline_class"]) == ("insufficient_funds", "soft")
    failed = await customer.purchase(problem["purchase_id"])
    assert failed["status"] == "failed"
    assert await customer.effects() == []
    assert (await customer.published()).count("evt.billing.purchase.failed") == 1

    said = await customer.refused(
        "CARD_DECLINED", "POST", "/billing/purchases", body, key="one-wish"
    )
    assert said == problem, "the key keeps its answer"
    again = await customer.buy("small", "saved_card", key="another-wish")
    await proven_once(customer, again["purchase_id"])


async def test_what_stripe_refuses_for_the_sellers_account_goes_on_once_that_is_repaired(
    customer: Customer,
) -> None:
    sandbox, named = customer.actors.sandbox, {"account": customer.id}
    refusing = await sandbox.fault(
        "error_400_stored", method="POST", path="/v1/customers", metadata=named, times=None
    )
    body = {"pack": "small", "payment_method": "card"}
    answer = await customer.call("POST", "/billing/purchases", body, key="before")
    assert answer.status_code == 502, answer.text
    await sandbox.clear("faults", refusing)
    await customer.bought("small")


@pytest.mark.parametrize("named", ["https://shop.example/back", None])
async def test_a_hosted_page_is_paid_and_leads_back(customer: Customer, named: str | None) -> None:
    begun = await customer.buy("small", "checkout", **({"return_url": named} if named else {}))
    action = begun["next_action"]
    assert (action["type"], action["url"]) == ("redirect", begun["checkout_url"])
    session = begun["checkout_url"].rpartition("/")[2]
    assert (await customer.actors.sandbox.pay_session(session)).status == 200
    await proven_once(customer, begun["purchase_id"])
    client = customer.actors.client
    left = (await client.get(begun["checkout_url"])).headers["location"]
    assert left == (named or f"{customer.actors.stack.api_url}/pay/back")
    assert named or "You can close this page" in (await client.get(left)).text


async def test_a_declined_browser_card_leaves_the_purchase_open_for_another(
    customer: Customer,
) -> None:
    begun = await customer.buy("small")
    assert (await customer.confirm(begun, "pm_card_visa_chargeDeclined")).status == 402
    await customer.until_handled("payment_intent.payment_failed")
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    assert await customer.grants() == []
    await customer.pay(begun, "pm_card_mastercard")
    await proven_once(customer, begun["purchase_id"])


async def test_a_bank_that_asks_the_buyer_is_waited_for(customer: Customer) -> None:
    begun = await customer.buy("small")
    asked = await customer.confirm(begun, "pm_card_authenticationRequired")
    assert asked.body["status"] == "requires_action"
    assert await customer.effects() == []
    await customer.actors.sandbox.authenticate(intent_of(begun))
    await proven_once(customer, begun["purchase_id"])


async def test_a_list_says_of_each_purchase_what_to_do(customer: Customer) -> None:
    paid = await customer.bought()
    begun = [await customer.buy("small", flow) for flow in ("card", "checkout", "manual")]
    listed = (await customer.ask("GET", "/billing/purchases"))["data"]
    assert [one["next_action"]["type"] for one in listed] == [
        "manual", "redirect", "confirm_card", "none",
    ]  # fmt: skip
    alone = [await customer.purchase(one["purchase_id"]) for one in (paid, *begun)]
    assert listed == alone[::-1]


async def test_the_same_key_finds_its_first_purchase(customer: Customer) -> None:
    first = await customer.buy("small", key="again-and-again")
    again = await customer.buy("small", key="again-and-again")
    assert again["purchase_id"] == first["purchase_id"]
    await customer.pay(first)
    await proven_once(customer, first["purchase_id"])


@pytest.mark.parametrize(("currency", "amount"), [("EUR", 999), ("JPY", 1500)])
async def test_other_currencies_are_charged_in_their_own_units(
    customer: Customer, currency: str, amount: int
) -> None:
    begun = await customer.buy("small", currency=currency)
    await customer.pay(begun)
    await proven_once(customer, begun["purchase_id"], amount)
    problem = await customer.refused(
        "CURRENCY_MISMATCH", "POST", "/billing/purchases", {"pack": "small", "currency": "USD"}
    )
    assert problem["status"] == 409


async def test_a_purchase_is_pending_no_longer_than_its_page_is_open(actors: Actors) -> None:
    settings = stack_settings(actors.stack, BILLING_PURCHASE_EXPIRY_HOURS=72)
    lasts = {}
    async with open_database(settings) as database:
        app = create_app(settings, database, await connect(settings))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            customer = await replace(actors, client=client).customer()
            for flow in ("card", "checkout", "paypal"):
                begun = await customer.buy("small", flow)
                lasts[flow] = instant(begun["expires_at"]) - instant(begun["created_at"])
    assert {flow: time / timedelta(hours=1) for flow, time in lasts.items()} == {
        "card": 72, "checkout": 24, "paypal": 3,
    }  # fmt: skip
