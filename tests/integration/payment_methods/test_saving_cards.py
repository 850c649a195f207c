"""A customer saves a card: the browser confirms with Stripe, and we learn of it in every way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from billing.core.clock import real_now
from billing.core.database import Database
from billing.money.payment_methods import card_setup
from billing.money.payment_methods.rules import SetupOutcome
from sandbox.cards import CARDS
from tests.integration.actors import Json, wait_for
from tests.integration.dashboard import delete_customer
from tests.integration.payment_methods.conftest import METHODS, SETUP, Cardholder


async def sync(customer: Cardholder, begun: Json, **more: Any) -> Any:
    """The customer comes back and says that the card was given."""
    body = {"setup_intent_id": begun["provider_reference"]} | more
    return await customer.call("POST", METHODS, body)


async def test_a_confirmed_card_appears_without_another_word_from_the_customer(
    customer: Cardholder,
) -> None:
    begun = await customer.begin()
    assert begun["status"] == "waiting"
    action = begun["next_action"]
    assert (action["type"], action["client_secret"]) == ("confirm_card", begun["client_secret"])

    await customer.confirm_card(begun)

    [method] = await customer.eventually(lambda methods: len(methods) == 1)
    assert (method["brand"], method["last4"], method["type"]) == ("visa", "4242", "card")
    assert method["is_default"], "the first card is the one that is charged"
    finished = await customer.ask("GET", f"{SETUP}/{begun['setup_intent_id']}")
    assert finished["status"] == "succeeded"
    assert finished["payment_method_id"] == method["id"]
    assert finished["client_secret"] is None
    assert finished["next_action"] == {"type": "none"}


async def test_only_metadata_of_a_card_is_kept(customer: Cardholder) -> None:
    await customer.save_card("pm_card_mastercard")
    [kept] = await customer.rows("SELECT * FROM payment_methods WHERE account_id = %(me)s")
    assert {kept["brand"], kept["last4"]} == {"mastercard", "4444"}
    assert "5555555555554444" not in str(kept)
    assert not kept.keys() & {"number", "cvc"}


async def test_a_customer_who_comes_back_need_not_wait_for_the_webhook(
    customer: Cardholder,
) -> None:
    begun = await customer.begin()
    async with customer.unheard():
        await customer.confirm_card(begun)
        answer = await sync(customer, begun)
    assert answer.status_code == 201, answer.text
    assert [answer.json()] == await customer.methods()

    again = await sync(customer, {"provider_reference": begun["setup_intent_id"]})
    assert again.json() == answer.json(), "our own id of the setup intent is as good"


async def test_a_customer_who_comes_back_may_make_it_the_default(customer: Cardholder) -> None:
    await customer.save_card()
    begun = await customer.begin()
    await customer.confirm_card(begun, "pm_card_mastercard")
    assert not (await sync(customer, begun)).json()["is_default"]
    assert (await sync(customer, begun, make_default=True, confirm="yes")).status_code == 422
    sure = await sync(customer, begun, make_default=True)
    assert sure.json()["is_default"]


async def test_a_webhook_that_comes_three_times_saves_one_card(customer: Cardholder) -> None:
    begun = await customer.begin()
    sandbox = customer.actors.sandbox
    plan = await sandbox.webhooks("duplicate", metadata={"account": customer.id}, copies=2)
    await customer.confirm_card(begun)
    await customer.eventually(lambda methods: len(methods) == 1)

    async def deliveries() -> bool:
        rows = await customer.rows(
            "SELECT deliveries, status FROM stripe_webhook_events"
            " WHERE account_id = %(me)s AND type = 'setup_intent.succeeded'"
        )
        return rows == [{"deliveries": 3, "status": "handled"}]

    await wait_for(deliveries, "three deliveries of one event")
    await sandbox.clear("webhooks", plan)
    assert (await customer.audit()).count("payment_method.added") == 1
    assert len(await customer.methods()) == 1


async def test_a_request_that_came_before_the_card_stores_it_once_it_is_given(
    customer: Cardholder,
) -> None:
    begun = await customer.begin()
    body, key = {"setup_intent_id": begun["provider_reference"]}, str(uuid4())
    await customer.refused("SETUP_INTENT_INCOMPLETE", "POST", METHODS, body, key=key)
    await customer.confirm_card(begun)
    stored = await customer.ask("POST", METHODS, body, key=key, status=201)
    assert await customer.ask("POST", METHODS, body, key=key, status=201) == stored


async def test_a_card_that_nobody_gave_is_not_stored(customer: Cardholder) -> None:
    answer = await sync(customer, await customer.begin())
    assert answer.status_code == 409
    assert answer.json()["code"] == "SETUP_INTENT_INCOMPLETE"
    assert answer.json()["setup_status"] == "waiting"
    assert await customer.methods() == []


async def test_a_declined_card_is_told_and_the_next_one_still_fits(customer: Cardholder) -> None:
    begun = await customer.begin()
    assert await customer.confirm_card(begun, "pm_card_chargeDeclined") == 402
    answer = await sync(customer, begun)
    assert answer.status_code == 402
    assert answer.json()["code"] == "CARD_DECLINED"

    await customer.confirm_card(begun)

    answer = await sync(customer, begun)
    assert answer.status_code == 201, answer.text


async def test_news_of_a_declined_card_is_older_than_the_card_that_was_given_since(
    customer: Cardholder, database: Database
) -> None:
    begun = await customer.begin()
    reference, at = begun["provider_reference"], real_now()
    declined = SetupOutcome(setup_intent_id=reference, status="failed")
    async with database.tenant(customer.uuid) as connection:
        seen = await card_setup.find(connection, reference)
        await card_setup.ask(connection, seen, make_default=False, at=at)
        await card_setup.record(connection, seen, declined, cause="told", at=at)
        setup = await card_setup.find(connection, reference)
    assert (setup.status, setup.asked_at) == ("waiting", at)


async def test_asking_twice_at_one_instant_of_a_test_clock_looks_twice(
    new_customer: Callable[..., Awaitable[Cardholder]],
) -> None:
    customer = await new_customer(is_test=True, clock_at="2027-01-01T10:00:00Z")
    begun = await customer.begin()
    assert (await sync(customer, begun)).status_code == 409
    async with customer.unheard():
        await customer.confirm_card(begun)
        answer = await sync(customer, begun)
    assert answer.status_code == 201, answer.text


async def test_a_card_that_needs_3d_secure_is_saved_once_it_was_passed(
    customer: Cardholder,
) -> None:
    begun = await customer.begin()
    await customer.confirm_card(begun, "pm_card_authenticationRequired")
    assert (await sync(customer, begun)).json()["setup_status"] == "action"

    await customer.actors.sandbox.authenticate(begun["provider_reference"], passed=True)

    [method] = await customer.eventually(lambda methods: len(methods) == 1)
    assert method["is_default"]


async def test_a_payer_who_uses_link_is_served_and_charged_again(
    new_customer: Callable[..., Awaitable[Cardholder]],
) -> None:
    customer = await new_customer(is_test=True, clock_at="2027-01-01T10:00:00Z")
    await customer.subscribed("pro", "pm_link")
    [kept] = await customer.methods()
    assert (kept["type"], kept["provider_type"], kept["last4"]) == ("other", "link", None)
    await customer.advance(to="2027-02-01T10:00:00Z")
    assert [one["amount"] for one in await customer.effects()] == [4900, 4900]
    assert (await customer.save_card("pm_link"))["provider_type"] == "link"


async def test_a_second_card_leaves_the_default_alone(customer: Cardholder) -> None:
    first = await customer.save_card()
    second = await customer.save_card("pm_card_mastercard")
    assert not second["is_default"]
    assert [m["id"] for m in await customer.methods()] == [second["id"], first["id"]]


async def test_a_card_may_become_the_default_as_it_is_saved(customer: Cardholder) -> None:
    await customer.save_card()
    wrong = {"make_default": True, "confirm": "default"}
    await customer.refused("VALIDATION_FAILED", "POST", SETUP, wrong)
    second = await customer.save_card("pm_card_mastercard", make_default=True)
    assert second["is_default"]
    assert [m["is_default"] for m in await customer.methods()] == [True, False]


async def test_the_same_key_answers_the_same_setup_intent(customer: Cardholder) -> None:
    answers = [await customer.call("POST", SETUP, {}, key="one-card") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("fault", ["timeout_after", "error_500_unstored", "reset"])
async def test_an_answer_that_is_lost_makes_no_second_setup_intent(
    customer: Cardholder, fault: str
) -> None:
    await customer.begin()
    owner = await customer.stripe_customer()
    await customer.actors.sandbox.fault(
        fault, method="POST", path="/v1/setup_intents", customer=owner, seconds=3
    )

    # The other request's correlation id is the matter's when the lost call is made again.
    begun = await asyncio.gather(customer.begin(), customer.begin())

    listed = await customer.stripe("GET", "/v1/setup_intents", customer=owner)
    assert len(listed["data"]) == 3
    references = {one["provider_reference"] for one in begun}
    assert len(references) == 2
    assert references <= {intent["id"] for intent in listed["data"]}


async def test_a_customer_who_was_deleted_at_stripe_is_made_again(customer: Cardholder) -> None:
    await customer.save_card()
    before = await delete_customer(customer)
    await customer.save_card()
    (found,) = await customer.rows("SELECT * FROM accounts WHERE id = %(me)s")
    assert found["gone_customer_id"] == before
    assert found["stripe_customer_id"] not in {before, None}


async def test_a_card_can_be_saved_without_a_word_about_how(customer: Cardholder) -> None:
    answer = await customer.call("POST", SETUP)
    assert answer.status_code == 201, answer.text


async def test_an_unknown_setup_intent_is_not_found(customer: Cardholder) -> None:
    for name in ("seti_unknown", "set_00000000000000000000000000", "nonsense"):
        body = {"setup_intent_id": name}
        await customer.refused("SETUP_INTENT_NOT_FOUND", "POST", METHODS, body)


async def test_another_accounts_setup_intent_is_not_found(
    customer: Cardholder, new_customer: Any
) -> None:
    begun = await customer.begin()
    stranger: Cardholder = await new_customer()
    for name in (begun["setup_intent_id"], begun["provider_reference"]):
        body = {"setup_intent_id": name}
        await stranger.refused("SETUP_INTENT_NOT_FOUND", "POST", METHODS, body)


async def test_a_reader_may_look_at_cards_but_not_save_one(customer: Cardholder) -> None:
    card = await customer.save_card()
    read = await customer.call("GET", f"{METHODS}/{card['id']}", role="member")
    assert read.json() == card
    await customer.refused("FORBIDDEN", "POST", SETUP, {}, role="member")
    begun = await customer.begin()
    await customer.refused("FORBIDDEN", "GET", f"{SETUP}/{begun['setup_intent_id']}", role="member")


async def test_ten_cards_saved_at_once_leave_one_default(customer: Cardholder) -> None:
    cards = [
        card.token for card in CARDS.values() if card.attaches and card.authentication == "never"
    ]
    saved = await asyncio.gather(*(customer.save_card(card) for card in cards[:10]))
    assert len({method["id"] for method in saved}) == 10
    listed = await customer.methods()
    assert [method["is_default"] for method in listed].count(True) == 1


async def test_one_card_is_one_method_however_often_it_is_given(customer: Cardholder) -> None:
    saved = await asyncio.gather(*(customer.save_card() for _ in range(4)))
    assert len({method["id"] for method in saved}) == 1
    backup = await customer.save_card("pm_card_mastercard")
    await customer.ask("POST", f"{METHODS}/{backup['id']}/backup", status=200)
    before = await customer.methods()
    first = await customer.reference()

    again = await customer.save_card("pm_card_mastercard")

    assert again == before[0], "with its flags as they were"
    assert await customer.methods() == before
    assert await customer.reference() != first, "the newest has the newest expiry and consent"
    await wait_for(lambda: kept_at_stripe(customer), "Stripe keeps one of each", lambda n: n == 2)
    told = await customer.audit()
    assert (told.count("payment_method.added"), told.count("payment_method.detached")) == (2, 4)


async def kept_at_stripe(customer: Cardholder) -> int:
    """The number of cards that Stripe has of the customer."""
    owner = await customer.stripe_customer()
    return len((await customer.stripe("GET", "/v1/payment_methods", customer=owner))["data"])


async def test_the_account_has_no_open_matter_once_its_cards_are_saved(
    customer: Cardholder,
) -> None:
    await customer.save_card()

    async def at_rest() -> bool:
        rows = await customer.rows(
            "SELECT status, words, next_due FROM matters WHERE account_id = %(me)s"
        )
        return rows == [{"status": "closed", "words": "nothing to do", "next_due": None}]

    await wait_for(at_rest, "the account's matter closes")
