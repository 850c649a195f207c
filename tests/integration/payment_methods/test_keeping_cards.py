"""A customer's stored cards: which one is charged, what it is called, and how one goes."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import API, Json, wait_for
from tests.integration.payment_methods.conftest import METHODS, Cardholder

DEFAULT = {"confirm": "DEFAULT"}
DELETE = {"confirm": "DELETE"}


async def choose(customer: Cardholder, card: Json, path: str = "default") -> None:
    chosen = await customer.ask("POST", f"{METHODS}/{card['id']}/{path}", DEFAULT, status=200)
    assert chosen["is_default"]


async def remove(customer: Cardholder, card: Json, **more: str) -> Json:
    return await customer.ask("DELETE", f"{METHODS}/{card['id']}", DELETE | more, status=200)


@pytest.mark.parametrize("path", ["default", "set_default", "set_default/"])
async def test_the_chosen_card_is_the_one_default(customer: Cardholder, path: str) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    await choose(customer, second, path)
    assert {m["id"]: m["is_default"] for m in await customer.methods()} == {
        first["id"]: False,
        second["id"]: True,
    }


async def test_a_bearer_client_needs_no_typed_word_and_a_wrong_one_is_refused(
    customer: Cardholder,
) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    path = f"{METHODS}/{second['id']}"
    for body in ({"confirm": "default"}, {"confirm": "YES"}):
        await customer.refused("VALIDATION_FAILED", "POST", f"{path}/default", body)
    chosen = f"{path}/set_default?confirm="
    await customer.refused("VALIDATION_FAILED", "POST", f"{chosen}YES")
    actors = customer.actors
    headers = actors.headers(customer.id, "billing") | {"X-Confirm": "DELETE"}
    answer = await actors.client.post(f"{API}{path}/default", headers=headers)
    assert answer.json()["code"] == "VALIDATION_FAILED"
    assert not (await customer.ask("GET", path))["is_default"]
    assert (await customer.ask("POST", f"{chosen}DEFAULT"))["is_default"]
    assert (await customer.ask("POST", f"{path}/set_default/"))["is_default"]
    for body in ({"confirm": "delete"}, DEFAULT):
        await customer.refused("VALIDATION_FAILED", "DELETE", f"{METHODS}/{first['id']}", body)
    await customer.refused("VALIDATION_FAILED", "DELETE", f"{METHODS}/{first['id']}?confirm=YES")
    await customer.ask("DELETE", f"{METHODS}/{first['id']}/?confirm=DELETE", status=200)
    assert await customer.methods() == [second | {"is_default": True}]


async def test_choosing_both_cards_many_times_at_once_leaves_one_default(
    customer: Cardholder,
) -> None:
    cards = [await customer.save_card(), await customer.save_card("pm_card_mastercard")]
    await asyncio.gather(*(choose(customer, cards[turn % 2]) for turn in range(20)))
    assert [m["is_default"] for m in await customer.methods()].count(True) == 1


async def test_a_card_gets_a_name_and_nothing_else_may_change(customer: Cardholder) -> None:
    card = await customer.save_card()
    path = f"{METHODS}/{card['id']}"
    named = await customer.ask("PATCH", path, {"label": "Company Visa"}, status=200)
    assert named == card | {"label": "Company Visa"}
    assert await customer.ask("PATCH", path, {"label": None}, status=200) == card
    for body in ({"last4": "1111"}, {"is_default": False, "label": "x"}, {"label": ""}, {}):
        await customer.refused("VALIDATION_FAILED", "PATCH", path, body)


async def test_a_removed_card_is_gone_here_at_once_and_at_stripe_right_after(
    customer: Cardholder,
) -> None:
    card = await customer.save_card()
    reference = await customer.reference()

    removed = {"id": card["id"], "payment_method_id": card["id"], "deleted": True}
    assert await remove(customer, card) == removed

    assert await customer.methods() == []
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"label": "x"}),
        ("DELETE", "", DELETE),
        ("POST", "/default", DEFAULT),
    ):
        await customer.refused(
            "PAYMENT_METHOD_NOT_FOUND", method, f"{METHODS}/{card['id']}{path}", body
        )

    async def forgotten() -> bool:
        rows = await customer.rows("SELECT status FROM payment_methods WHERE account_id = %(me)s")
        at_stripe = await customer.stripe("GET", f"/v1/payment_methods/{reference}")
        return at_stripe["customer"] is None and rows == [{"status": "detached"}]

    await wait_for(forgotten, "Stripe forgets the card")


async def test_removing_the_default_promotes_the_newest_other_card(customer: Cardholder) -> None:
    first = await customer.save_card()
    await customer.save_card("pm_card_mastercard")
    await customer.save_card("pm_card_amex")
    await remove(customer, first)
    left = await customer.methods()
    assert [m["brand"] for m in left if m["is_default"]] == ["amex"]


async def test_removing_the_default_promotes_the_card_that_is_named(customer: Cardholder) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    await remove(customer, first, new_default=second["id"])
    assert await customer.methods() == [second | {"is_default": True}]


async def test_a_successor_that_is_not_there_leaves_everything_as_it_was(
    customer: Cardholder,
) -> None:
    card = await customer.save_card()
    for successor in (card["id"], "mth_00000000000000000000000000"):
        await customer.refused(
            "PAYMENT_METHOD_NOT_FOUND",
            "DELETE",
            f"{METHODS}/{card['id']}",
            DELETE | {"new_default": successor},
        )
    assert await customer.methods() == [card]


async def test_a_removed_card_does_not_come_back_with_its_old_setup_intent(
    customer: Cardholder,
) -> None:
    begun = await customer.begin()
    await customer.confirm_card(begun)
    body = {"setup_intent_id": begun["provider_reference"]}
    await remove(customer, await customer.ask("POST", METHODS, body, status=201))
    await customer.refused("PAYMENT_METHOD_NOT_FOUND", "POST", METHODS, body)
    assert await customer.methods() == []


async def test_the_last_card_of_a_paying_subscription_stays(customer: Cardholder) -> None:
    card = await customer.save_card()
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    await customer.refused("PAYMENT_METHOD_IN_USE", "DELETE", f"{METHODS}/{card['id']}", DELETE)
    second = await customer.save_card("pm_card_mastercard")
    await remove(customer, card, new_default=second["id"])


async def test_the_last_card_stays_where_only_more_than_the_plan_is_charged_to_it(
    customer: Cardholder,
) -> None:
    key, card = f"p-{uuid4().hex[:8]}", await customer.save_card()
    add_on = {"key": f"x-{key}", "name": "more", "meter": "ai_responses", "units": "500",
              "prices": {"USD": 700}}  # fmt: skip
    free = {"name": "Pay as you go", "family": key, "prices": {"month": {"USD": 0}}}
    overage = {"meter": "ai_responses", "included": "10", "then": "overage"}
    in_use = ("PAYMENT_METHOD_IN_USE", "DELETE", f"{METHODS}/{card['id']}", DELETE)

    async def sell(number: int, **more: Any) -> None:
        path = f"/admin/plans/{key}-{number}"
        await customer.actors.operate("PUT", path, free | more, status=200)

    async def choose_plan(number: int, **more: Any) -> None:
        body = {"plan": f"{key}-{number}"} | more
        await customer.ask("PUT", "/billing/subscription", body, status=200)

    await sell(1, add_ons=[add_on], limits=[{"meter": "ai_responses", "included": "10"}])
    await sell(2, limits=[overage | {"prices": {"USD": "0.02"}}])
    await sell(3)
    await customer.ask("POST", "/billing/subscription", {"plan": f"{key}-1"}, status=201)
    more = {"add_ons": [{"add_on": add_on["key"], "quantity": 1}]}
    await customer.ask("PUT", "/billing/subscription", more, status=200)
    await customer.refused(*in_use)
    await choose_plan(2, at="now")
    await customer.refused(*in_use)
    await choose_plan(3, at="now")
    await remove(customer, card)


async def test_the_last_card_of_a_trial_may_go(customer: Cardholder) -> None:
    card = await customer.save_card()
    assert (await customer.subscribe("basic", trial=True))["status"] == "trialing"
    await remove(customer, card)


async def test_a_card_with_a_purchase_on_its_way_stays(customer: Cardholder) -> None:
    card = await customer.save_card()
    sandbox, owner = customer.actors.sandbox, await customer.stripe_customer()
    fault = await sandbox.fault(
        "error_500_unstored", method="POST", path="/v1/payment_intents", customer=owner, times=None
    )
    bought = asyncio.create_task(customer.buy(flow="saved_card"))

    async def on_its_way() -> list[Json]:
        return await customer.rows(
            "SELECT 1 FROM payments WHERE account_id = %(me)s AND status = 'pending'"
        )

    await wait_for(on_its_way, "the payment is written")
    await customer.refused("PAYMENT_METHOD_IN_USE", "DELETE", f"{METHODS}/{card['id']}", DELETE)
    await sandbox.clear("faults", fault)
    await customer.until_purchase((await bought)["purchase_id"], "completed")
    await remove(customer, card)


async def test_a_card_renewed_by_its_bank_has_its_new_expiry(customer: Cardholder) -> None:
    await customer.save_card()
    form = {"card[exp_year]": "2044", "card[exp_month]": "7"}
    await customer.stripe("POST", f"/v1/payment_methods/{await customer.reference()}", **form)
    [card] = await customer.eventually(lambda methods: methods[0]["exp_year"] == 2044)
    assert card["exp_month"] == 7
    assert (await customer.audit())[-1] == "payment_method.updated"


async def test_a_card_reissued_with_the_number_of_another_can_be_given_again(
    customer: Cardholder,
) -> None:
    await customer.save_card()
    reissued = await customer.reference()
    saved = await customer.save_card("pm_card_mastercard")
    await customer.actors.sandbox.reissue(reissued, "pm_card_mastercard")
    await customer.eventually(lambda methods: methods[1]["last4"] == saved["last4"])
    again, before = await customer.save_card("pm_card_mastercard"), await customer.save_card()
    assert again == saved
    assert [one["id"] for one in await customer.methods()][:2] == [before["id"], saved["id"]]


async def test_a_card_detached_in_stripes_dashboard_is_gone_here_too(customer: Cardholder) -> None:
    await customer.save_card()
    await customer.stripe("POST", f"/v1/payment_methods/{await customer.reference()}/detach")
    await customer.eventually(lambda methods: methods == [])


async def test_every_change_of_a_card_is_in_the_audit_trail_and_told_outside(
    customer: Cardholder,
) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    await customer.ask("PATCH", f"{METHODS}/{first['id']}", {"label": "old"})
    await choose(customer, second)
    await remove(customer, first)

    async def trail() -> list[str] | None:
        seen = await customer.audit()
        return seen if "payment_method.detached" in seen else None

    assert await wait_for(trail, "the card is detached") == [
        "payment_method.setup_started",
        "payment_method.added",
        "payment_method.chosen",
        "payment_method.setup_started",
        "payment_method.added",
        "payment_method.renamed",
        "payment_method.chosen",
        "payment_method.removed",
        "payment_method.detached",
    ]
    assert await customer.published() == [
        f"evt.billing.payment_method.{what}"
        for what in ("added", "chosen", "added", "chosen", "removed")
    ]


async def test_one_card_is_the_backup_and_never_the_default(customer: Cardholder) -> None:
    first, second = await customer.save_card(), await customer.save_card("pm_card_mastercard")
    third = await customer.save_card("pm_card_amex")
    refused = await customer.refused(
        "PAYMENT_METHOD_IS_DEFAULT", "POST", f"{METHODS}/{first['id']}/backup"
    )
    assert refused["status"] == 409
    for card in (second, third, third):
        marked = await customer.ask("POST", f"{METHODS}/{card['id']}/backup", status=200)
        assert marked == card | {"is_backup": True}
    backups = [m["id"] for m in await customer.methods() if m["is_backup"]]
    assert backups == [third["id"]]

    await choose(customer, third)
    assert [m["is_backup"] for m in await customer.methods()] == [False] * 3
    await customer.ask("POST", f"{METHODS}/{second['id']}/backup", status=200)
    unmarked = await customer.ask("DELETE", f"{METHODS}/{second['id']}/backup", status=200)
    assert unmarked == second
    told = await customer.audit()
    assert told.count("payment_method.backup_chosen") == 3
    assert told.count("payment_method.backup_ended") == 3  # replaced, chosen as default, unmarked
