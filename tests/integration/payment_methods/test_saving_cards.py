"""A customer saves a card: the browser confirms with Stripe, and we learn of it in every way."""

import asyncio
from typing import Any

import pytest

from tests.integration.payment_methods.conftest import METHODS, Customer, until

SETUP = f"{METHODS}/setup-intent"


async def test_a_confirmed_card_appears_without_another_word_from_the_customer(
    customer: Customer,
) -> None:
    begun = await customer.begin()
    assert begun["status"] == "waiting"
    assert begun["next_action"] == {
        "type": "confirm_card",
        "client_secret": begun["client_secret"],
    }

    await customer.sandbox.confirm_as_client(begun["provider_reference"], "pm_card_visa")

    [method] = await customer.eventually(lambda methods: len(methods) == 1)
    assert method["brand"] == "visa"
    assert method["last4"] == "4242"
    assert method["type"] == "card"
    assert method["is_default"], "the first card is the one that is charged"
    answer = await customer.call("GET", f"{SETUP}/{begun['setup_intent_id']}")
    finished = answer.json()
    assert finished["status"] == "succeeded"
    assert finished["payment_method_id"] == method["id"]
    assert finished["client_secret"] is None
    assert finished["next_action"] == {"type": "none"}


async def test_only_metadata_of_a_card_is_kept(customer: Customer) -> None:
    await customer.save("pm_card_mastercard")
    [row] = await customer.rows("SELECT to_jsonb(m) FROM payment_methods m")
    kept = row[0]
    assert {kept["brand"], kept["last4"]} == {"mastercard", "4444"}
    assert "number" not in kept
    assert "cvc" not in kept


async def test_a_customer_who_comes_back_need_not_wait_for_the_webhook(customer: Customer) -> None:
    begun = await customer.begin()
    owner = await customer.stripe_customer()
    plan = await customer.sandbox.webhooks("drop", customer=owner)
    await customer.sandbox.confirm_as_client(begun["provider_reference"], "pm_card_visa")

    answer = await customer.call("POST", METHODS, {"setup_intent_id": begun["provider_reference"]})

    assert answer.status_code == 201, answer.text
    assert [answer.json()] == await customer.methods()
    again = await customer.call("POST", METHODS, {"setup_intent_id": begun["setup_intent_id"]})
    assert again.json() == answer.json(), "our own id of the setup intent is as good"
    await customer.sandbox.clear("webhooks", plan)


async def test_a_webhook_that_comes_three_times_saves_one_card(customer: Customer) -> None:
    begun = await customer.begin()
    owner = await customer.stripe_customer()
    plan = await customer.sandbox.webhooks("duplicate", customer=owner, copies=2)
    await customer.save()
    await customer.sandbox.confirm_as_client(begun["provider_reference"], "pm_card_amex")
    await customer.eventually(lambda methods: len(methods) == 2)
    await customer.sandbox.clear("webhooks", plan)
    added = await customer.rows("SELECT 1 FROM billing_audit WHERE action = 'payment_method.added'")
    assert len(added) == 2


async def test_a_card_that_nobody_gave_is_not_stored(customer: Customer) -> None:
    begun = await customer.begin()
    answer = await customer.call("POST", METHODS, {"setup_intent_id": begun["provider_reference"]})
    assert answer.status_code == 409
    assert answer.json()["code"] == "SETUP_INTENT_INCOMPLETE"
    assert answer.json()["setup_status"] == "waiting"
    assert await customer.methods() == []


async def test_a_declined_card_is_told_and_the_next_one_still_fits(customer: Customer) -> None:
    begun = await customer.begin()
    reference = begun["provider_reference"]
    refused = await customer.sandbox.confirm_as_client(reference, "pm_card_chargeDeclined")
    assert refused.status == 402
    answer = await customer.call("POST", METHODS, {"setup_intent_id": reference})
    assert answer.status_code == 402
    assert answer.json()["code"] == "CARD_DECLINED"

    await customer.sandbox.confirm_as_client(reference, "pm_card_visa")

    answer = await customer.call("POST", METHODS, {"setup_intent_id": reference})
    assert answer.status_code == 201, answer.text


async def test_a_card_that_needs_3d_secure_is_saved_once_it_was_passed(customer: Customer) -> None:
    begun = await customer.begin()
    reference = begun["provider_reference"]
    await customer.sandbox.confirm_as_client(
        reference, "pm_card_authenticationRequired", return_url="https://shop.example/back"
    )
    waiting = await customer.call("POST", METHODS, {"setup_intent_id": reference})
    assert waiting.json()["setup_status"] == "action"

    await customer.sandbox.authenticate(reference, passed=True)

    [method] = await customer.eventually(lambda methods: len(methods) == 1)
    assert method["is_default"]


async def test_a_second_card_leaves_the_default_alone(customer: Customer) -> None:
    first = await customer.save("pm_card_visa")
    second = await customer.save("pm_card_mastercard")
    assert not second["is_default"]
    assert [m["id"] for m in await customer.methods()] == [second["id"], first["id"]]


async def test_a_card_may_become_the_default_as_it_is_saved_if_that_is_confirmed(
    customer: Customer,
) -> None:
    await customer.save("pm_card_visa")
    unconfirmed = await customer.call("POST", SETUP, {"make_default": True})
    assert unconfirmed.status_code == 422
    second = await customer.save("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    assert second["is_default"]
    assert [m["is_default"] for m in await customer.methods()] == [True, False]


async def test_the_same_key_answers_the_same_setup_intent(customer: Customer) -> None:
    answers = [await customer.call("POST", SETUP, {}, key="one-card") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("fault", ["timeout_after", "error_500_unstored", "reset"])
async def test_an_answer_that_is_lost_makes_no_second_setup_intent(
    customer: Customer, fault: str
) -> None:
    await customer.begin()
    owner = await customer.stripe_customer()
    await customer.sandbox.fault(
        fault, method="POST", path="/v1/setup_intents", customer=owner, seconds=3
    )

    begun = await customer.begin()

    listed = await customer.stripe("GET", "/v1/setup_intents", customer=owner)
    assert len(listed["data"]) == 2
    assert begun["provider_reference"] in {intent["id"] for intent in listed["data"]}


async def test_a_refusal_by_stripe_is_proven_and_said(customer: Customer) -> None:
    async with customer.database.operator() as connection:
        await connection.exec_driver_sql(
            "UPDATE accounts SET stripe_customer_id = 'cus_nobody' || gen_random_uuid()"
            " WHERE id = %(id)s",
            {"id": customer.account_id},
        )
    answer = await customer.call("POST", SETUP, {})
    assert answer.status_code == 502
    assert answer.json()["code"] == "PLATFORM_ERROR"
    assert await customer.methods() == []


async def test_a_card_can_be_saved_without_a_word_about_how(customer: Customer) -> None:
    answer = await customer.call("POST", SETUP)
    assert answer.status_code == 201, answer.text


async def test_an_unknown_setup_intent_is_not_found(customer: Customer) -> None:
    for name in ("seti_unknown", "set_00000000000000000000000000", "nonsense"):
        answer = await customer.call("POST", METHODS, {"setup_intent_id": name})
        assert answer.status_code == 404, name
        assert answer.json()["code"] == "SETUP_INTENT_NOT_FOUND"


async def test_another_accounts_setup_intent_is_not_found(
    customer: Customer, new_customer: Any
) -> None:
    begun = await customer.begin()
    stranger: Customer = await new_customer()
    for name in (begun["setup_intent_id"], begun["provider_reference"]):
        answer = await stranger.call("POST", METHODS, {"setup_intent_id": name})
        assert answer.status_code == 404


async def test_a_reader_may_look_at_cards_but_not_save_one(customer: Customer) -> None:
    await customer.save()
    [method] = await customer.methods()
    read = await customer.call("GET", f"{METHODS}/{method['id']}", role="member")
    assert read.json() == method
    assert (await customer.call("POST", SETUP, {}, role="member")).status_code == 403
    begun = await customer.begin()
    secret = await customer.call("GET", f"{SETUP}/{begun['setup_intent_id']}", role="member")
    assert secret.status_code == 403


async def test_ten_cards_saved_at_once_leave_one_default(customer: Customer) -> None:
    saved = await asyncio.gather(*(customer.save() for _ in range(10)))
    assert len({method["id"] for method in saved}) == 10
    listed = await customer.methods()
    assert [method["is_default"] for method in listed].count(True) == 1


async def test_the_account_has_no_open_matter_once_its_cards_are_saved(customer: Customer) -> None:
    await customer.save()

    async def matter() -> Any:
        rows = await customer.rows("SELECT status, words, next_due FROM matters")
        return [tuple(row) for row in rows]

    await until(matter, lambda rows: rows == [("closed", "nothing to do", None)])
