"""The provider's portal: opened once per key, and what is done there comes back."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.settings import Settings
from billing.money.payment_methods import following
from billing.money.payment_methods.rules import CardDetails
from billing.money.payments import store as payment_store
from tests.integration.actors import Json, wait_for
from tests.integration.api_app import Api
from tests.integration.payment_methods.conftest import Cardholder
from tests.integration.payment_methods.test_account_matter import overdue
from tests.integration.payment_methods.test_keeping_cards import choose
from tests.integration.payment_methods.test_named_cards import START, charged

PORTAL = "/billing/portal-session"


async def test_a_card_that_is_removed_in_the_portal_is_gone_here(customer: Cardholder) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    body = {"return_url": "https://shop.example/cards"}
    opened = await customer.ask("POST", PORTAL, body, key="visit", status=201)
    assert opened["status"] == "open"
    assert await customer.ask("POST", PORTAL, body, key="visit") == opened
    sessions = [one for one in await customer.requests() if "billing_portal" in str(one)]
    assert len(sessions) == 1
    noted = await customer.rows(
        "SELECT action FROM billing_audit WHERE account_id = %(me)s AND subject = %(visit)s",
        visit=opened["portal_session_id"],
    )
    assert noted == [{"action": "portal_session.started"}]

    client = customer.actors.client
    page = await client.get(opened["url"])
    assert "https://shop.example/cards" in page.text
    reference = await customer.reference()
    removed = await client.post(opened["url"], data={"method": reference})
    assert removed.status_code == 200
    left = await customer.eventually(lambda methods: len(methods) == 1)
    assert left[0]["id"] == first["id"] != second["id"]
    assert "payment_method.detached" in await customer.audit()


async def visit(customer: Cardholder) -> str:
    """Open the portal; its address."""
    return str((await customer.ask("POST", PORTAL, key=str(uuid4()), status=201))["url"])


async def given(customer: Cardholder, url: str, card: str) -> None:
    """Add a card on the portal's page."""
    page = await customer.actors.client.post(url, data={"card": card})
    assert page.status_code == 200, page.text
    assert 'role="alert"' not in page.text


async def own_setups(customer: Cardholder) -> list[Json]:
    """Events about setups that are not ours."""
    return await customer.rows(
        "SELECT status FROM stripe_webhook_events WHERE type = 'setup_intent.succeeded'"
        " AND payload -> 'data' -> 'object' ->> 'customer' = %(customer)s"
        " AND payload -> 'data' -> 'object' -> 'metadata' ->> 'matter' IS NULL",
        customer=await customer.stripe_customer(),
    )


async def test_cards_that_are_added_in_the_portal_are_here_and_the_default_stays(
    customer: Cardholder,
) -> None:
    first = await customer.save_card()
    url = await visit(customer)
    await given(customer, url, "pm_card_mastercard")
    second, left = await customer.eventually(lambda methods: len(methods) == 2)
    assert left == first
    assert (second["brand"], second["is_default"]) == ("mastercard", False)
    (event,) = await wait_for(lambda: own_setups(customer), "Stripe tells of its own setup")
    assert event["status"] == "ignored"

    before = await customer.reference()
    await given(customer, url, "pm_card_mastercard")
    await wait_for(customer.reference, "its newest id counts", lambda now: now != before)
    assert await customer.methods() == [second, first], "one card is one method"
    removed = await customer.actors.client.post(url, data={"method": before})
    assert removed.status_code == 200
    assert await customer.methods() == [second, first], "the one of before has gone there"
    assert (await customer.audit()).count("payment_method.added") == 2


@pytest.mark.parametrize("first", ["attach", "detach"])
async def test_a_card_that_is_replaced_in_the_portal_pays_the_next_renewal(
    new_customer: Callable[..., Awaitable[Cardholder]], first: str
) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    before = await customer.save_card()
    old = await customer.reference()
    await customer.subscribe("basic")
    url = await visit(customer)
    if first == "attach":
        await given(customer, url, "pm_card_mastercard")
        await customer.eventually(lambda methods: len(methods) == 2)
    gone = await customer.actors.client.post(url, data={"method": old})
    assert gone.status_code == 200
    await customer.eventually(lambda methods: before["id"] not in {one["id"] for one in methods})
    if first == "detach":
        await given(customer, url, "pm_card_mastercard")
    (card,) = await customer.eventually(lambda methods: len(methods) == 1)
    assert (card["brand"], card["is_default"]) == ("mastercard", True)
    assert (await customer.published()).count("evt.billing.payment_method.removed") == 1
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "active"
    assert await charged(customer) == ["visa", "mastercard"]


async def test_a_default_that_is_removed_in_the_dashboard_hands_over_to_the_newest_other_one(
    customer: Cardholder,
) -> None:
    await customer.save_card()
    old = await customer.reference()
    await customer.save_card("pm_card_amex")
    newest = await customer.save_card("pm_card_mastercard")
    await customer.stripe("POST", f"/v1/payment_methods/{old}/detach")
    left = await customer.eventually(lambda methods: len(methods) == 2)
    assert [one["id"] for one in left if one["is_default"]] == [newest["id"]]
    assert (await customer.audit())[-3:] == [
        "payment_method.removed",
        "payment_method.detached",
        "payment_method.chosen",
    ]


async def test_the_first_card_is_the_default_though_its_webhook_is_lost(
    customer: Cardholder,
) -> None:
    url = await visit(customer)
    lost = await customer.actors.sandbox.webhooks("drop", customer=await customer.stripe_customer())
    await given(customer, url, "pm_card_visa")
    (card,) = await customer.eventually(lambda methods: len(methods) == 1)
    assert card["is_default"]
    await customer.actors.sandbox.clear("webhooks", lost)


async def test_a_card_of_an_account_that_never_saw_the_portal_is_its_payments_own(
    customer: Cardholder,
) -> None:
    await customer.save_card()
    rows = await customer.rows(
        "SELECT status FROM stripe_webhook_events WHERE type = 'payment_method.attached'"
        " AND object_id = %(card)s",
        card=await customer.reference(),
    )
    assert {row["status"] for row in rows} <= {"ignored"}


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
    await sandbox.fault(
        "error_400_stored",
        method="POST",
        path="/v1/billing_portal",
        customer=await customer.stripe_customer(),
        times=None,
    )
    await customer.refused("PLATFORM_ERROR", "POST", PORTAL, key="again")
    sessions = await customer.rows(
        "SELECT status, url FROM portal_sessions WHERE account_id = %(me)s ORDER BY id"
    )
    assert sessions == [
        {"status": "open", "url": opened["url"]},
        {"status": "refused", "url": None},
    ]


async def test_a_card_that_was_removed_here_stays_removed_whatever_stripe_tells_of_it_later(
    customer: Cardholder, database: Database
) -> None:
    saved = await customer.save_card()
    reference = await customer.reference()
    card = CardDetails(stripe_payment_method_id=reference, last4="4242")
    await customer.ask("DELETE", f"/billing/payment-methods/{saved['id']}")
    await customer.eventually(lambda methods: methods == [])
    before = await customer.published()
    for known in (card, None):
        async with database.tenant(customer.uuid) as connection:
            told = await following.follow(
                connection, customer.uuid, reference, known, real_now(),
                may_be_links=payment_store.is_open_by_link,
            )  # fmt: skip
            assert told == []
    assert await customer.methods() == []
    assert await customer.published() == before


async def test_the_portal_is_for_those_who_may_pay(customer: Cardholder) -> None:
    answer = await customer.call("POST", PORTAL, {}, role="member")
    assert answer.status_code == 403
    await customer.refused("VALIDATION_FAILED", "POST", PORTAL, {"return_url": "javascript:x"})


async def test_a_live_key_saves_no_card_of_a_test_account_and_opens_it_no_portal(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "has_live_stripe", property(lambda _: False))
    account = await api.new_account(is_test=True)
    monkeypatch.setattr(Settings, "has_live_stripe", property(lambda _: True))
    headers = api.token(account["id"], ["billing"])
    for path in (PORTAL, "/billing/payment-methods/setup-intent"):
        answer = await api.client.post(f"/api/v1{path}", json={}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "TEST_ACCOUNT_ON_LIVE_KEY")


async def chosen_there(customer: Cardholder, url: str, reference: str) -> None:
    """Make a card the default on the portal's page."""
    page = await customer.actors.client.post(url, data={"default": reference})
    assert page.status_code == 200, page.text
    assert 'role="alert"' not in page.text


async def test_the_card_that_its_owner_makes_the_default_in_the_portal_is_charged_from_then_on(
    new_customer: Callable[..., Awaitable[Cardholder]],
) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    await customer.save_card()
    await customer.subscribe("basic")
    url = await visit(customer)
    await given(customer, url, "pm_card_mastercard")
    await customer.eventually(lambda methods: len(methods) == 2)
    await chosen_there(customer, url, await customer.reference())
    await customer.eventually(lambda methods: bool(methods[0]["is_default"]))
    assert (await customer.audit())[-1] == "payment_method.chosen"
    await customer.advance(days=32)
    assert await charged(customer) == ["visa", "mastercard"]


async def test_a_default_of_the_portal_pays_what_is_overdue_whatever_the_order_of_its_news(
    new_customer: Callable[..., Awaitable[Cardholder]],
) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    await overdue(customer)
    url, payer = await visit(customer), await customer.stripe_customer()
    control = customer.actors.sandbox
    held = await control.webhooks("hold", customer=payer, types=["payment_method.attached"])
    poll = await control.fault("error_429", method="GET", path="/v1/events", times=None)
    await given(customer, url, "pm_card_mastercard")
    saved = await customer.stripe("GET", "/v1/payment_methods", customer=payer)
    (added,) = [one["id"] for one in saved["data"] if one["card"]["brand"] == "mastercard"]
    await chosen_there(customer, url, added)
    await customer.until_subscription("active")
    assert (await customer.methods())[0]["is_default"]
    assert len(await customer.effects()) == 1
    await control.clear("faults", poll)
    await control.clear("webhooks", held)
    await control.release(customer=payer)


async def test_of_choices_there_and_here_the_last_one_counts_however_late_its_news_come(
    customer: Cardholder,
) -> None:
    first = await customer.save_card()
    url, payer = await visit(customer), await customer.stripe_customer()
    second, third = [await customer.save_card(f"pm_card_{one}") for one in ("mastercard", "amex")]
    newest = await customer.reference()
    references = await customer.rows(
        "SELECT stripe_payment_method_id AS name FROM payment_methods WHERE account_id = %(me)s"
        " ORDER BY created_at, id"
    )
    control = customer.actors.sandbox
    held = await control.webhooks("hold", customer=payer, types=["customer.updated"])
    poll = await control.fault("error_429", method="GET", path="/v1/events", times=None)
    try:
        await chosen_there(customer, url, references[1]["name"])
        await asyncio.sleep(1.1)  # Stripe tells whole seconds
        await choose(customer, third)
        await choose(customer, first)
        await control.release(customer=payer)
        (told,) = await wait_for(lambda: news(customer), "it was looked at", is_handled)
        assert [one["is_default"] for one in await customer.methods()] == [False, False, True]

        path = f"/admin/webhooks/{told['id']}/replay"
        await customer.actors.operate("POST", path, {})
        await wait_for(lambda: news(customer), "it is looked at again", is_handled)
        assert [one["is_default"] for one in await customer.methods()] == [False, False, True]

        await chosen_there(customer, url, newest)
        await asyncio.sleep(1.1)
        await choose(customer, second)
        await asyncio.sleep(1.1)
        await chosen_there(customer, url, references[0]["name"])
        await control.release(customer=payer)
        await customer.eventually(lambda methods: bool(methods[2]["is_default"]))
    finally:
        await control.clear("faults", poll)
        await control.clear("webhooks", held)


async def news(customer: Cardholder) -> list[Json]:
    """Stripe's news of the customer."""
    return await customer.rows(
        "SELECT stripe_event_id AS id, status, replays FROM stripe_webhook_events"
        " WHERE type = 'customer.updated' AND object_id = %(payer)s ORDER BY received_at",
        payer=await customer.stripe_customer(),
    )


def is_handled(rows: list[Json]) -> bool:
    return bool(rows) and all(one["status"] == "handled" for one in rows)


async def test_other_news_of_a_customer_leave_the_default_that_was_chosen_here(
    customer: Cardholder,
) -> None:
    first = await customer.save_card()
    url = await visit(customer)
    await given(customer, url, "pm_card_mastercard")
    second, _ = await customer.eventually(lambda methods: len(methods) == 2)
    await chosen_there(customer, url, await customer.reference())
    await customer.eventually(lambda methods: bool(methods[0]["is_default"]))
    await choose(customer, first)
    payer = await customer.stripe_customer()
    await customer.stripe("POST", f"/v1/customers/{payer}", description="moved")

    async def told() -> list[Json]:
        return await customer.rows(
            "SELECT status FROM stripe_webhook_events WHERE type = 'customer.updated'"
            " AND object_id = %(payer)s ORDER BY received_at",
            payer=payer,
        )

    seen = await wait_for(told, "both are here", lambda rows: len(rows) == 2)
    assert seen == [{"status": "handled"}, {"status": "ignored"}]
    assert [one["is_default"] for one in await customer.methods()] == [False, True]
    assert (second["is_default"], first["is_default"]) == (False, True)


async def test_a_default_of_an_account_that_never_saw_the_portal_is_not_its_owners(
    customer: Cardholder,
) -> None:
    await customer.save_card()
    await customer.save_card("pm_card_mastercard")
    payer, newest = await customer.stripe_customer(), await customer.reference()
    chosen = {"invoice_settings[default_payment_method]": newest}
    await customer.stripe("POST", f"/v1/customers/{payer}", **chosen)
    await wait_for(
        lambda: customer.rows(
            "SELECT status FROM stripe_webhook_events WHERE type = 'customer.updated'"
            " AND object_id = %(payer)s", payer=payer,
        ),
        "it is here", lambda rows: rows == [{"status": "ignored"}],
    )  # fmt: skip
    assert [one["is_default"] for one in await customer.methods()] == [False, True]
