"""The card rules over all flows: what the bank forbade is not tried, wherever it is asked for."""

from functools import partial
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.health import rules, store
from billing.insight.health.schemas import Sign
from tests.integration.actors import Actors, Customer, Json, intent_of, wait_for
from tests.integration.dunning.dunning_setup import overdue, owed

PURCHASES = "/billing/purchases"
PACK = {"pack": "small", "payment_method": "saved_card"}
USE = {"product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge"}

# The account's one try, once more.
TRIED_AGAIN = (
    "INSERT INTO payment_attempts SELECT (jsonb_populate_record(t, jsonb_build_object("
    " 'id', gen_random_uuid(), 'key', key || '/again-1',"
    " 'started_at', clock_timestamp(), 'real_started_at', clock_timestamp()))).*"
    " FROM payment_attempts t WHERE t.account_id = %(me)s"
)


async def tries(customer: Customer) -> int:
    """The number of times that a card of this account was asked."""
    effects = await customer.effects(None)
    return sum(one["name"] in ("charge.succeeded", "charge.failed") for one in effects)


async def declined(customer: Customer, path: str, body: Json, key: str | None = None) -> Json:
    """The refusal of a request that a card does not pay."""
    problem = await customer.refused("CARD_DECLINED", "POST", path, body, key=key or str(uuid4()))
    assert problem["status"] == 402
    return problem


async def declined_often(customer: Customer, times: int) -> None:
    """Copies of the account's one declined try, as if the card had been declined so often."""
    await customer.rows(
        "INSERT INTO payment_attempts SELECT (jsonb_populate_record(t, jsonb_build_object("
        " 'id', gen_random_uuid(), 'key', gen_random_uuid()::text))).*"
        " FROM payment_attempts t, generate_series(2, %(times)s) WHERE t.account_id = %(me)s",
        times=times,
    )


async def test_a_card_that_the_bank_barred_is_not_asked_again_on_any_flow(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("stolen_card", "succeed")
    first = await declined(customer, PURCHASES, PACK)
    assert (first["decline_code"], first["decline_class"]) == ("stolen_card", "hard")

    again = await declined(customer, PURCHASES, PACK)

    assert (again["decline_code"], again["decline_class"]) == ("card_barred", "hard")
    used = await declined(customer, "/usage/record", USE | {"event_id": "one"})
    assert used["decline_code"] == "card_barred"
    quoted = await customer.ask(
        "POST", "/billing/calculate", {"product_id": "gpt-4", "usage_amount": "1000"}
    )
    assert "payment_charge" not in quoted["available_billing_methods"]
    assert await tries(customer) == 1

    await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"


async def test_a_card_is_barred_although_its_payer_has_opened_the_page(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "stolen_card")
    pay = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", pay, {"payment_method": "card"}, key="k", status=200)
    await customer.advance(days=3)
    [card] = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    assert card["barred_at"] is not None

    refused = await declined(customer, PURCHASES, PACK)

    assert refused["decline_code"] == "card_barred"
    assert await tries(customer) == 3, "the first payment and two slots"


async def test_a_card_that_is_barred_says_so_in_its_list_the_audit_and_an_event(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    card = await customer.save_card()
    assert card["barred_at"] is None
    await customer.script("stolen_card")

    await declined(customer, PURCHASES, PACK)

    [listed] = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    assert (listed["id"], listed["is_default"]) == (card["id"], True)
    assert listed["barred_at"] is not None
    audit = await actors.operate("GET", f"/admin/accounts/{customer.id}/audit?limit=100")
    barred = [one for one in audit["data"] if one["action"] == "payment_method.barred"]
    assert [one["subject"] for one in barred] == [card["id"]]
    events = (await customer.ask("GET", "/billing/events?limit=100"))["data"]
    told = [one["data"] for one in events if one["type"] == "evt.billing.payment_method.barred"]
    assert [one["payment_method_id"] for one in told] == [card["id"]]


async def test_a_top_up_asks_a_stolen_card_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    await customer.script("stolen_card", then="last")
    path = "/billing/credits/auto-top-up"
    await customer.ask("PUT", path, {"threshold": "10", "pack": "small"}, status=200)
    await customer.advance(days=3)
    wished = (await customer.ask("GET", "/billing/credits/top-ups"))["data"]
    assert [(one["status"], one["reason"]) for one in wished[::-1]] == [
        ("failed", "stolen_card"),
        ("failed", "card_barred"),
        ("failed", "card_barred"),
    ]
    assert await tries(customer) == 1


async def test_a_card_declined_fifteen_times_rests_for_thirty_days(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    await customer.script("generic_decline")
    await declined(customer, PURCHASES, PACK)
    await declined_often(customer, 15)

    rests = await declined(customer, PURCHASES, PACK)

    assert (rests["decline_code"], rests["decline_class"]) == ("too_many_attempts", "hard")
    assert (await declined(customer, "/usage/record", USE | {"event_id": "1"}))["decline_code"] == (
        "too_many_attempts"
    )
    assert await tries(customer) == 1
    await customer.advance(days=31)
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"


async def test_payments_that_their_payer_confirmed_are_no_declines_of_the_card(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    await customer.script("authentication_required")
    begun = await customer.buy("small", "saved_card")
    await actors.sandbox.authenticate(intent_of(begun))
    await customer.until_purchase(begun["purchase_id"], "completed")
    invoice = await customer.ask("GET", f"/billing/invoices/{begun['invoice_id']}")
    assert [one["status"] for one in invoice["attempts"]] == ["succeeded"]
    await declined_often(customer, 15)
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"


async def test_a_card_that_is_saved_again_gets_no_new_tries(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    first = await customer.save_card()
    await customer.script("generic_decline", then="last")
    await declined(customer, PURCHASES, PACK)
    await declined_often(customer, 14)
    again = await customer.save_card(make_default=True, confirm="DEFAULT")
    assert again["id"] == first["id"], "one card is one method"
    assert (await declined(customer, PURCHASES, PACK))["decline_code"] == "generic_decline"

    assert (await declined(customer, PURCHASES, PACK))["decline_code"] == "too_many_attempts"
    await customer.save_card(make_default=True, confirm="DEFAULT")
    assert (await declined(customer, PURCHASES, PACK))["decline_code"] == "too_many_attempts"
    used = await declined(customer, "/usage/record", USE | {"event_id": "1"})
    assert used["decline_code"] == "too_many_attempts"
    assert await tries(customer) == 2

    await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    assert (await declined(customer, PURCHASES, PACK))["decline_code"] == "generic_decline"


async def test_a_decline_that_stripe_hides_in_the_outcome_bars_the_card(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("previously_declined", then="last")
    first = await declined(customer, PURCHASES, PACK)
    assert first["decline_class"] == "hard", "the error says generic_decline, the charge more"
    assert (await declined(customer, PURCHASES, PACK))["decline_code"] == "card_barred"
    assert await tries(customer) == 1


async def test_a_use_whose_card_is_declined_is_answered_402_and_stays_failed(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("insufficient_funds", "succeed")
    body = USE | {"event_id": "use-1"}
    first = await declined(customer, "/usage/record", body)
    assert (first["decline_code"], first["decline_class"]) == ("insufficient_funds", "soft")
    record = await customer.ask("GET", f"/billing/records/{first['billing_id']}")
    assert record["billing_status"] == "failed"

    again = await declined(customer, "/usage/record", body)

    assert again["billing_id"] == first["billing_id"], "the same use, the same answer"
    assert await tries(customer) == 1
    anew = {"billing_id": first["billing_id"]}
    paid = await customer.ask("POST", "/billing/process", anew, key="anew")
    assert paid["billing_status"] == "completed"


async def test_the_same_key_answers_the_same_decline_and_a_new_key_tries_again(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("insufficient_funds", "succeed")
    first = await customer.call("POST", PURCHASES, PACK, key="wish")
    again = await customer.call("POST", PURCHASES, PACK, key="wish")
    assert (first.status_code, again.status_code) == (402, 402)
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await tries(customer) == 1
    assert (await customer.buy("small", "saved_card", key="new wish"))["status"] == "completed"


async def test_a_barred_card_subscribes_to_nothing_and_a_trial_has_no_barred_card_named(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    card = await customer.save_card()
    await customer.script("stolen_card", "succeed")
    await declined(customer, PURCHASES, PACK)
    wish = {"plan": "basic", "trial": False}

    for body in (wish, wish | {"payment_method_id": card["id"]}):
        refused = await declined(customer, "/billing/subscription", body)
        assert (refused["decline_code"], refused["decline_class"]) == ("card_barred", "hard")
    named = {"plan": "pro", "trial": True, "payment_method_id": card["id"]}
    assert (await declined(customer, "/billing/subscription", named))["decline_code"] == (
        "card_barred"
    )

    await customer.refused("SUBSCRIPTION_NOT_FOUND", "GET", "/billing/subscription")
    assert await tries(customer) == 1
    begun = await customer.subscribe("basic", payment_method="card")
    assert begun["next_action"]["type"] == "confirm_card", "a new card may pay"


async def unreached(superuser: AsyncConnection, customer: Customer) -> Sign:
    """The sign as if there were no other customer's charge."""
    others = text("DELETE FROM payment_attempts WHERE status = 'unreached' AND account_id <> :me")
    await superuser.execute(others, {"me": customer.uuid})
    signs = rules.signs(await store.look(superuser))
    return next(one for one in signs if one.name == "unreached charges")


async def test_a_charge_that_the_provider_refuses_is_told_to_operators_until_one_is_reached(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    sign = partial(unreached, superuser, customer)
    await customer.save_card()
    await actors.sandbox.fault(
        "error_400_stored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
    )
    await customer.refused("PLATFORM_ERROR", "POST", PURCHASES, PACK, key=str(uuid4()))
    told = await sign()
    assert told.state == "unhealthy"
    assert "/attempt-0: Stripe refused the request: Your account cannot currently" in told.words

    await customer.rows(TRIED_AGAIN)
    told = await sign()
    assert told.words.startswith("1: "), "one charge, however often it was tried"
    assert "/attempt-0/again-1: Stripe refused" in told.words

    assert (await customer.buy("small", "saved_card"))["status"] == "completed"
    assert (await sign()).state == "healthy"

    still_owed = text(
        "UPDATE invoices SET status = 'open', number = 'planted', finalized_at = now()"
        " WHERE id IN (SELECT invoice_id FROM payment_attempts"
        " WHERE account_id = :me AND status = 'unreached')"
    )
    await superuser.execute(still_owed, {"me": customer.uuid})
    told = await sign()
    assert told.words.startswith("1: "), "another invoice was paid, and this one is not"


async def test_a_change_that_the_provider_refuses_to_charge_is_told_to_operators_too(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.subscribed("basic")
    await actors.sandbox.fault(
        "error_400_stored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
    )
    await customer.refused(
        "PLATFORM_ERROR", "PUT", "/billing/subscription", {"plan": "pro"}, key=str(uuid4())
    )
    canceled = "SELECT id FROM payments WHERE account_id = %(me)s AND status = 'canceled'"
    await wait_for(lambda: customer.rows(canceled), "its payment is called back", bool)

    told = await unreached(superuser, customer)

    assert told.state == "unhealthy"
    assert "Your account cannot currently" in told.words


async def test_a_saved_card_that_our_settings_decline_is_told_to_operators(
    actors: Actors, superuser: AsyncConnection
) -> None:
    async def state() -> str:
        signs = rules.signs(await store.look(superuser))
        return next(one.state for one in signs if one.name == "config declines")

    customer = await actors.customer()
    await customer.save_card()
    await customer.script("live_mode_test_card", then="last")
    assert (await customer.confirm(await customer.buy("small"))).status == 402
    await customer.until_handled("payment_intent.payment_failed")
    typed = "SELECT decline_class FROM payment_attempts WHERE account_id = %(me)s"
    assert [one["decline_class"] for one in await customer.rows(typed)] == ["config"]
    assert await state() == "healthy", "a payer may type a test card"

    problem = await declined(customer, PURCHASES, PACK)

    assert problem["decline_class"] == "config"
    assert await state() == "unhealthy"
    again = await declined(customer, PURCHASES, PACK)
    assert again["decline_code"] == "live_mode_test_card", "the card is not barred"
    await customer.rows("DELETE FROM payment_attempts WHERE account_id = %(me)s")
    assert await state() == "healthy"
