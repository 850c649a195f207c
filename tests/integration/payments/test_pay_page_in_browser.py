"""The payment page in a real browser, with its policy in force: Debian's chromium."""

import shutil
from collections.abc import AsyncIterator
from typing import Final

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: make test installs it")
from playwright.async_api import (
    Browser,
    Page,
    Route,
    async_playwright,
    expect,
)

from api.pages import pay_page
from tests.integration.actors import Customer

CHROMIUM: Final = shutil.which("chromium")
THREE_D_SECURE: Final = "pm_card_threeDSecure2Required"
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
)


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A fresh tab; whatever its policy or network refuses fails the test."""
    opened = await chromium.new_page()
    refused: list[str] = []
    opened.on("console", lambda said: refused.append(said.text) if said.type == "error" else None)
    opened.on("requestfailed", lambda request: refused.append(request.url))
    yield opened
    await opened.close()
    assert refused == []


async def _pay(page: Page, url: str, card: str) -> None:
    await page.goto(url)
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_role("button", name="Choose a test card").click()
    await page.get_by_label("Test card").select_option(card)
    await page.get_by_role("button", name="Pay").click()


async def test_a_failed_challenge_is_tried_again_and_paid(page: Page, customer: Customer) -> None:
    begun = await customer.buy()
    url = begun["next_action"]["pay_url"]
    await _pay(page, url, THREE_D_SECURE)
    await page.get_by_role("button", name="No, fail").click()
    await expect(page.get_by_role("alert")).to_contain_text("did not confirm")

    await _pay(page, url, THREE_D_SECURE)
    await page.get_by_role("button", name="Yes, complete").click()
    # The page looks again by itself until the webhook has come.
    await expect(page.get_by_role("heading", name="Paid")).to_be_visible(timeout=15_000)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "completed"
    assert len(await customer.effects()) == 1


async def test_a_tab_that_is_closed_at_the_bank_pays_all_the_same(
    page: Page, customer: Customer
) -> None:
    begun = await customer.subscribe("pro")
    await _pay(page, begun["next_action"]["pay_url"], THREE_D_SECURE)
    await expect(page.get_by_role("heading")).to_contain_text("is this you")
    intent = page.url.rpartition("/")[2]
    await page.goto("about:blank")
    await customer.actors.sandbox.authenticate(intent)
    await customer.until_subscription("active")


FORM: Final = "http://billing.example/pay/token"
STRIPE: Final = """window.Stripe = () => ({elements: () => ({create: () => {
  const heard = {};
  return {on: (name, act) => { heard[name] = act; }, mount: () => heard["EVENT"]()};
}})});"""


async def _card_form(chromium: Browser, script: str | None, *, has_scripts: bool = True) -> Page:
    """Open the page with Stripe's own form, for which Stripe's host serves this script."""
    standing = pay_page.PayPageState("Payment", "Pay by card.", {"type": "confirm_card"})
    made = pay_page._page(
        "pay_stripe.html", standing, policy=pay_page._STRIPE, publishable_key="pk_test_1",
        client_secret="pi_1_secret_1", return_url=f"{FORM}?tries=0", kind="invoice",
    )  # fmt: skip

    async def served(route: Route) -> None:
        await route.fulfill(body=bytes(made.body), headers=dict(made.headers))

    async def stripe(route: Route) -> None:
        answer = route.abort() if script is None else route.fulfill(body=script)
        await answer

    page = await chromium.new_page(java_script_enabled=has_scripts)
    await page.route(FORM, served)
    await page.route("https://js.stripe.com/**", stripe)
    await page.goto(FORM)
    return page


async def test_a_card_form_can_be_sent_once_it_is_there(chromium: Browser) -> None:
    page = await _card_form(chromium, STRIPE.replace("EVENT", "ready"))
    await expect(page.get_by_role("button", name="Pay")).to_be_enabled()
    assert await page.get_by_role("alert").count() == 0
    await page.close()


CONFIRM: Final = """{confirmPayment: async ({confirmParams}) => {
  window.sentBack = confirmParams.return_url; return {error: {message: "No.", ...ERROR}};
}, elements"""


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        ('{type: "card_error", code: "card_declined"}', 1),
        ('{type: "invalid_request_error", code: "payment_intent_authentication_failure"}', 1),
        ('{type: "validation_error", code: "incomplete_number"}', 0),
    ],
)
async def test_a_card_form_counts_the_tries_that_are_recorded(
    chromium: Browser, error: str, tries: int
) -> None:
    confirms = CONFIRM.replace("ERROR", error)
    page = await _card_form(
        chromium, STRIPE.replace("EVENT", "ready").replace("{elements", confirms)
    )
    for tried in (0, tries):
        await page.get_by_role("button", name="Pay").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await expect(page.get_by_role("button", name="Pay")).to_be_enabled()
        assert await page.evaluate("window.sentBack") == f"{FORM}?tries={tried}"
    await page.close()


@pytest.mark.parametrize(
    ("script", "has_scripts"),
    [(None, True), (STRIPE.replace("EVENT", "loaderror"), True), (None, False)],
)
async def test_a_card_form_that_does_not_load_says_so(
    chromium: Browser, script: str | None, has_scripts: bool
) -> None:
    page = await _card_form(chromium, script, has_scripts=has_scripts)
    await expect(page.get_by_role("alert")).to_contain_text("The card form did not load.")
    await expect(page.get_by_role("button", name="Pay")).to_be_disabled()
    await page.close()
