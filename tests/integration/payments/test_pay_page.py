"""The page behind a signed link: a payer without a login finishes any payment, or saves a card."""

import asyncio
import re
from html import unescape
from typing import Any, Final

import httpx2
import pytest

from api.app import create_app
from billing.core.database import open_database
from tests.integration.actors import Actors, Customer, Json, intent_of, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.dunning.dunning_setup import case, overdue, owed

THREE_D_SECURE: Final = "pm_card_threeDSecure2Required"
_FORM: Final = re.compile(r'<form[^>]*action="([^"]+)"')
_TO_THE_BANK: Final = "Continue to payment"
_HIDDEN: Final = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


class Browser:
    """Follows the forms of the pages, as a person without scripts does."""

    def __init__(self, actors: Actors) -> None:
        self.client = actors.client

    async def open(self, url: str) -> httpx2.Response:
        return await self.client.get(url)

    async def pay(self, url: str, card: str, *, passes: bool | None = None) -> httpx2.Response:
        """Press the button, choose a card, answer the bank; the page that comes last."""
        page = await wait_for(
            lambda: self._begin(url),
            "the form of the provider",
            lambda text: _TO_THE_BANK not in text,
        )
        target, fields = _form(page)
        chosen = await self.client.post(target, data=fields | {"card": card})
        while chosen.status_code == 303:
            where = str(chosen.url.join(chosen.headers["location"]))
            chosen = await self.client.get(where)
            if "/3ds/" in where and passes is not None:
                answer = {"answer": "pass" if passes else "fail"}
                chosen = await self.client.post(where, data=answer)
        return chosen

    async def _begin(self, url: str) -> str:
        """The next page; for a moment it leads to a bank that has answered already."""
        begun = await self.client.post(url)
        assert begun.status_code == 200, begun.text
        return begun.text


def _form(page: str) -> tuple[str, dict[str, str]]:
    found = _FORM.search(page)
    assert found is not None, page
    return unescape(found[1]), {name: unescape(value) for name, value in _HIDDEN.findall(page)}


@pytest.fixture
def browser(actors: Actors) -> Browser:
    return Browser(actors)


async def test_a_pack_is_paid_on_its_page_after_the_bank_has_asked(
    customer: Customer, browser: Browser
) -> None:
    begun = await customer.buy("medium")
    url = begun["next_action"]["pay_url"]
    opened = await browser.open(url)
    assert opened.status_code == 200
    assert "39.99 USD" in opened.text
    policy = opened.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "stripe" not in policy, "the stand-in needs no other host"
    assert opened.headers["referrer-policy"] == "no-referrer"
    assert opened.headers["cache-control"] == "no-store"
    assert begun["next_action"]["client_secret"] not in opened.text, "not before it is asked for"

    refused = await browser.pay(url, THREE_D_SECURE, passes=False)
    assert "did not confirm" in refused.text
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    declined = await browser.pay(url, "pm_card_visa_chargeDeclined")
    assert "declined" in declined.text

    await browser.pay(url, THREE_D_SECURE, passes=True)
    await customer.until_purchase(begun["purchase_id"], "completed")
    paid = await browser.open(url)
    assert (paid.status_code, "Paid" in paid.text) == (200, True)
    assert "<form" not in paid.text
    again = await browser.client.post(url)
    assert "<form" not in again.text
    assert len(await customer.effects()) == 1


async def test_a_first_payment_is_finished_by_the_webhook_alone_when_the_tab_is_closed(
    customer: Customer, browser: Browser
) -> None:
    begun = await customer.subscribe("pro")
    url = begun["next_action"]["pay_url"]
    page = await browser.pay(url, THREE_D_SECURE)
    assert "is this you" in page.text
    await customer.actors.sandbox.authenticate(
        begun["next_action"]["client_secret"].partition("_secret")[0]
    )
    await customer.until_subscription("active")


async def test_a_renewal_that_the_bank_asks_about_is_paid_by_the_link_of_its_event(
    actors: Actors, browser: Browser
) -> None:
    customer = await overdue(actors, "authentication_required")
    told = await _told(customer, "evt.billing.dunning.attempt_failed")
    assert told["reason"] == "authentication_required"
    opened = await browser.open(told["pay_url"])
    assert "49.00 USD" in opened.text
    audit = await actors.operate("GET", f"/admin/accounts/{customer.id}/audit?limit=100")
    assert "/pay/" not in str(audit)

    await customer.script()
    await browser.pay(told["pay_url"], THREE_D_SECURE, passes=True)
    await customer.until_subscription("active")
    assert (await case(customer))["status"] == "recovered"


async def test_a_soft_decline_sends_no_link_but_the_page_pays_it_too(
    actors: Actors, browser: Browser
) -> None:
    customer = await overdue(actors, "insufficient_funds")
    assert "pay_url" not in await _told(customer, "evt.billing.dunning.attempt_failed")
    invoice = (await owed(customer))["invoice_id"]
    body = {"payment_method": "card"}
    asked = await customer.ask("POST", f"/billing/invoices/{invoice}/pay", body, key="k")
    await customer.script()
    await browser.pay(asked["next_action"]["pay_url"], "pm_card_visa")
    await customer.until_subscription("active")


@pytest.mark.parametrize("told_first", ["payment_intent.succeeded", "payment_method.attached"])
@pytest.mark.parametrize(
    ("declined", "stays"), [("insufficient_funds", True), ("expired_card", False)]
)
async def test_whoever_pays_one_invoice_by_its_link_pays_no_other(
    actors: Actors, browser: Browser, declined: str, stays: bool, told_first: str
) -> None:
    """The link's card is the default only where the account's own can pay no more; also if its
    owner has visited the portal, where cards are added, and Stripe tells of the card first.
    """
    customer = await overdue(actors, declined, policy={"days": [0, 60]})
    await customer.ask("POST", "/billing/portal-session", key="visit", status=201)
    await customer.advance(to="2027-03-01T10:00:00Z")
    await customer.script()
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}"
    asked = await customer.ask("POST", f"{path}/pay", {"payment_method": "card"}, key="k")
    whose = await customer.stripe_customer()
    await actors.sandbox.webhooks("hold", customer=whose)
    await browser.pay(asked["next_action"]["pay_url"], "pm_card_mastercard")
    await actors.sandbox.release(customer=whose, types=[told_first])
    await customer.until_handled(told_first)
    await actors.sandbox.release(customer=whose)
    await wait_for(
        lambda: customer.ask("GET", path), "it is paid", lambda one: one["status"] == "paid"
    )
    await customer.advance(days=1)
    (tried,) = (await owed(customer))["attempts"]
    assert tried["status"] == "declined", "nothing was tried since"
    cards = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    assert {one["brand"]: one["is_default"] for one in cards} == {
        "visa": stays, "mastercard": not stays,
    }  # fmt: skip
    await customer.advance(to="2027-04-30T10:00:00Z")
    assert (await customer.ask("GET", "/billing/invoices?status=pending"))["invoices"] == []


async def test_a_debit_that_fails_days_later_is_payable_again_on_the_page_that_waits(
    customer: Customer, browser: Browser
) -> None:
    begun = await customer.buy("medium")
    url, secret = begun["next_action"]["pay_url"], begun["next_action"]["client_secret"]
    page = await browser.pay(url, "pm_usBankAccount_insufficientFunds")
    waiting = str(page.url)
    assert "redirect_status=succeeded" in waiting
    assert "The bank is deciding" in page.text

    settled = await customer.actors.sandbox.settle(secret.partition("_secret")[0])
    assert settled.status == 200
    await wait_for(
        lambda: browser.open(waiting), "it can be paid anew", lambda seen: "<form" in seen.text
    )
    again = await browser.pay(url, "pm_card_visa")
    assert "redirect_status=succeeded" in str(again.url)
    assert "<form" not in again.text, "the earlier failure is no answer to this payment"
    await customer.until_purchase(begun["purchase_id"], "completed")


async def test_a_payer_who_has_paid_is_not_asked_again_before_his_declines_are_on_record(
    customer: Customer, browser: Browser
) -> None:
    url = (await customer.buy("medium"))["next_action"]["pay_url"]
    paid = await browser.open(f"{url}?tries=1&redirect_status=succeeded")
    assert "The bank is deciding" in paid.text
    for odd in ("", "x", "9" * 5_000):
        assert (await browser.open(f"{url}?tries={odd}")).status_code == 200
    declined = await browser.pay(url, "pm_card_visa_chargeDeclined")
    counted = dict(_HIDDEN.findall(declined.text))["return_url"]
    assert counted == f"{url}?tries=1", "the page with the form counts it"


async def test_a_payer_who_has_paid_is_not_asked_again_because_a_slot_was_declined_meanwhile(
    actors: Actors, browser: Browser
) -> None:
    customer = await overdue(actors, "insufficient_funds")
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    asked = await customer.ask("POST", path, {"payment_method": "card"}, key="k")
    url = asked["next_action"]["pay_url"]
    form = await browser.client.post(url)
    back = unescape(dict(_HIDDEN.findall(form.text))["return_url"])
    await customer.advance(days=3)
    assert [one["status"] for one in (await owed(customer))["attempts"]] == ["declined"] * 2
    await customer.script()
    async with customer.unheard():
        await customer.pay(asked)
        paid = await browser.open(f"{back}&redirect_status=succeeded")
    assert "The bank is deciding" in paid.text
    assert "<form" not in paid.text


async def test_a_failed_challenge_counts_as_a_try_of_the_payer(
    customer: Customer, browser: Browser
) -> None:
    """The form stays open after one, and its script counts it, too."""
    begun = await customer.buy("medium")
    url, sandbox = begun["next_action"]["pay_url"], customer.actors.sandbox
    assert (await customer.confirm(begun, THREE_D_SECURE)).status == 200
    await sandbox.authenticate(intent_of(begun), passed=False)

    async def counted() -> str:
        form = await browser.client.post(url)
        return str(dict(_HIDDEN.findall(form.text))["return_url"])

    await wait_for(counted, "it is counted", lambda back: back == f"{url}?tries=1")


async def test_a_card_is_saved_on_its_page(customer: Customer, browser: Browser) -> None:
    path = "/billing/payment-methods"
    begun = await customer.ask("POST", f"{path}/setup-intent", {}, status=201)
    url = begun["next_action"]["pay_url"]
    assert "Nothing is charged" in (await browser.open(url)).text
    refused = await browser.pay(url, THREE_D_SECURE, passes=False)
    assert refused.status_code == 200
    await browser.pay(url, THREE_D_SECURE, passes=True)
    await customer.ask("POST", path, {"setup_intent_id": begun["setup_intent_id"]}, status=201)
    assert "saved" in (await browser.open(url)).text
    assert await customer.effects(None) == []


async def test_a_link_that_was_changed_or_is_over_leads_nowhere(
    customer: Customer, browser: Browser
) -> None:
    url: str = (await customer.buy())["next_action"]["pay_url"]
    token = url.rpartition("/")[2]
    turned = "A" if token[-30] != "A" else "B"
    for wrong in (token[:-30] + turned + token[-29:], token[:-4], "x", "%00", token + "A" * 4, "ä"):
        for method in ("GET", "POST"):
            answer = await browser.client.request(method, url.replace(token, wrong))
            assert answer.status_code in {400, 404}, (wrong, answer.status_code)
            assert "client_secret" not in answer.text


async def test_a_subscription_that_was_canceled_is_not_paid_any_more(
    customer: Customer, browser: Browser
) -> None:
    begun = await customer.subscribe("pro")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    page = await browser.client.post(begun["next_action"]["pay_url"])
    assert "Withdrawn" in page.text
    assert "there is nothing to pay" in page.text
    assert "<form" not in page.text


async def test_a_member_is_shown_no_link(customer: Customer) -> None:
    begun = await customer.buy()
    path = f"/billing/purchases/{begun['purchase_id']}"
    assert "pay_url" not in (await customer.call("GET", path, role="member")).text


async def _told(customer: Customer, type: str) -> dict[str, Any]:
    rows: list[Json] = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s AND type = %(t)s ORDER BY seq", t=type
    )
    found: dict[str, Any] = rows[-1]["data"]
    return found


async def test_a_challenge_that_fails_leaves_the_renewal_to_its_next_slot(
    actors: Actors, browser: Browser
) -> None:
    customer = await overdue(actors, "authentication_required")
    url = (await _told(customer, "evt.billing.dunning.attempt_failed"))["pay_url"]
    await customer.script()
    page = await browser.pay(url, THREE_D_SECURE, passes=False)
    assert "did not confirm" in page.text
    declined = await browser.pay(url, "pm_card_threeDSecureRequiredChargeDeclined", passes=True)
    assert "Paid" not in declined.text
    seen = await case(customer)
    assert (seen["status"], seen["slots_used"]) == ("open", 1), "the payer uses up no slot"
    await customer.advance(to="2027-02-04T10:00:00Z")
    await customer.until_subscription("active")
    assert "Paid" in (await browser.open(url)).text
    assert len(await customer.effects()) == 2


async def test_a_change_that_waits_for_the_bank_is_finished_on_the_page(
    customer: Customer, browser: Browser
) -> None:
    await customer.save_card("pm_card_visa")
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    body = {"add_ons": [{"add_on": "ai-500"}], "payment_method": "card"}
    asked = await customer.ask("PUT", "/billing/subscription", body, key="more")
    assert asked["pending_change"] is not None
    await browser.pay(asked["next_action"]["pay_url"], THREE_D_SECURE, passes=True)
    await wait_for(
        customer.subscription, "the change counts", lambda seen: seen["pending_change"] is None
    )
    assert (await customer.subscription())["add_ons"][0]["quantity"] == 1


async def test_the_page_and_a_saved_card_at_once_pay_an_invoice_once(
    actors: Actors, browser: Browser
) -> None:
    customer = await overdue(actors, "insufficient_funds")
    invoice = (await owed(customer))["invoice_id"]
    path = f"/billing/invoices/{invoice}/pay"
    asked = await customer.ask("POST", path, {"payment_method": "card"}, key="page")
    await customer.script()
    results = await asyncio.gather(
        browser.pay(asked["next_action"]["pay_url"], "pm_card_mastercard"),
        customer.call("POST", path, {}, key="saved"),
        customer.call("POST", path, {}, key="twice"),
    )
    assert {one.status_code for one in results} <= {200, 202, 400, 402, 409}
    await customer.until_subscription("active")
    assert (await customer.ask("GET", f"/billing/invoices/{invoice}"))["status"] == "paid"
    assert len(await customer.effects()) == 2, "the first payment, and one for the renewal"
    balance = await customer.ask("GET", "/billing/balance")
    assert balance["balance_cents"] == 0


async def test_a_browser_is_sent_where_it_reaches_the_provider(
    actors: Actors, customer: Customer
) -> None:
    token = (await customer.buy())["next_action"]["pay_url"].rpartition("/")[2]
    for more, form in (
        ({"stripe_public_base": "https://stand-in.example"}, 'action="https://stand-in.example/'),
        ({"stripe_api_base": None, "stripe_publishable_key": "pk_test_1"}, 'data-key="pk_test_1"'),
    ):
        settings = stack_settings(actors.stack, **more)
        async with open_database(settings) as database:
            app = create_app(settings, database, actors.temporal)
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
                page = await client.post(f"/pay/{token}")
        assert form in page.text
        policy = page.headers["content-security-policy"]
        nonce = re.search(r"style-src 'nonce-([^']+)'", policy)
        assert nonce is not None
        assert f'nonce="{nonce[1]}"' in page.text
        hosts = set(re.findall(r"https://[*\w.-]+", policy))
        names = ("js.stripe.com", "*.js.stripe.com", "hooks.stripe.com", "api.stripe.com")
        stripe = {f"https://{name}" for name in names}
        assert hosts == (stripe if "js.stripe.com" in page.text else {"https://stand-in.example"})
