"""A customer's stored cards: which one is charged, what it is called, and how one goes."""

import asyncio
from typing import Any

import pytest

from tests.integration.payment_methods.conftest import METHODS, Customer, until

DEFAULT = {"confirm": "DEFAULT"}
DELETE = {"confirm": "DELETE"}


async def choose(customer: Customer, method: dict[str, Any], path: str = "default") -> None:
    answer = await customer.call("POST", f"{METHODS}/{method['id']}/{path}", DEFAULT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["is_default"]


async def actions(customer: Customer) -> list[str]:
    """What the audit trail says of the account's cards, oldest first."""
    path = f"/admin/accounts/{customer.account['id']}/audit?limit=100"
    entries = (await customer.call("GET", path, role="admin")).json()["data"]
    return [e["action"] for e in reversed(entries) if e["action"].startswith("payment_method.")]


async def events(customer: Customer) -> list[str]:
    rows = await customer.rows("SELECT type FROM events ORDER BY seq")
    return [row.type.removeprefix("evt.billing.") for row in rows]


@pytest.mark.parametrize("path", ["default", "set_default", "set_default/"])
async def test_the_chosen_card_is_the_one_default(customer: Customer, path: str) -> None:
    first, second = await customer.save(), await customer.save("pm_card_mastercard")
    await choose(customer, second, path)
    assert {m["id"]: m["is_default"] for m in await customer.methods()} == {
        first["id"]: False,
        second["id"]: True,
    }


@pytest.mark.parametrize("body", [{}, {"confirm": "default"}, {"confirm": "YES"}, None])
async def test_a_default_moves_only_with_the_typed_word(
    customer: Customer, body: dict[str, Any] | None
) -> None:
    await customer.save()
    second = await customer.save("pm_card_mastercard")
    answer = await customer.call("POST", f"{METHODS}/{second['id']}/default", body)
    assert answer.status_code == 422
    assert not (await customer.call("GET", f"{METHODS}/{second['id']}")).json()["is_default"]


async def test_choosing_both_cards_many_times_at_once_leaves_one_default(
    customer: Customer,
) -> None:
    cards = [await customer.save(), await customer.save("pm_card_mastercard")]
    await asyncio.gather(*(choose(customer, cards[turn % 2]) for turn in range(20)))
    assert [m["is_default"] for m in await customer.methods()].count(True) == 1


async def test_a_card_gets_a_name_and_nothing_else_may_change(customer: Customer) -> None:
    card = await customer.save()
    path = f"{METHODS}/{card['id']}"
    answer = await customer.call("PATCH", path, {"label": "Company Visa"})
    assert answer.json() == card | {"label": "Company Visa"}
    assert (await customer.call("PATCH", path, {"label": None})).json() == card
    for body in ({"last4": "1111"}, {"is_default": False, "label": "x"}, {"label": ""}, {}):
        assert (await customer.call("PATCH", path, body)).status_code == 422, body


async def test_a_removed_card_is_gone_here_at_once_and_at_stripe_right_after(
    customer: Customer,
) -> None:
    card = await customer.save()
    [row] = await customer.rows("SELECT stripe_payment_method_id AS id FROM payment_methods")

    answer = await customer.call("DELETE", f"{METHODS}/{card['id']}", DELETE)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": card["id"], "deleted": True}
    assert await customer.methods() == []
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/default")):
        body = {"PATCH": {"label": "x"}, "DELETE": DELETE, "POST": DEFAULT}.get(method)
        again = await customer.call(method, f"{METHODS}/{card['id']}{path}", body)
        assert again.status_code == 404, method
        assert again.json()["code"] == "PAYMENT_METHOD_NOT_FOUND"

    async def at_stripe() -> Any:
        return (await customer.stripe("GET", f"/v1/payment_methods/{row.id}"))["customer"]

    await until(at_stripe, lambda owner: owner is None)

    async def status() -> Any:
        return [tuple(r) for r in await customer.rows("SELECT status FROM payment_methods")]

    await until(status, lambda rows: rows == [("detached",)])


async def test_a_card_goes_only_with_the_typed_word(customer: Customer) -> None:
    card = await customer.save()
    for body in (None, {}, {"confirm": "delete"}, DEFAULT):
        answer = await customer.call("DELETE", f"{METHODS}/{card['id']}", body)
        assert answer.status_code == 422, body
    assert len(await customer.methods()) == 1


async def test_removing_the_default_promotes_no_other_card_by_itself(customer: Customer) -> None:
    first = await customer.save()
    await customer.save("pm_card_mastercard")
    await customer.call("DELETE", f"{METHODS}/{first['id']}", DELETE)
    assert [m["is_default"] for m in await customer.methods()] == [False]


async def test_removing_the_default_promotes_the_card_that_is_named(customer: Customer) -> None:
    first, second = await customer.save(), await customer.save("pm_card_mastercard")
    named = DELETE | {"new_default": second["id"]}
    answer = await customer.call("DELETE", f"{METHODS}/{first['id']}", named)
    assert answer.status_code == 200, answer.text
    assert [(m["id"], m["is_default"]) for m in await customer.methods()] == [(second["id"], True)]


async def test_a_successor_that_is_not_there_leaves_everything_as_it_was(
    customer: Customer,
) -> None:
    card = await customer.save()
    for successor in (card["id"], "mth_00000000000000000000000000"):
        body = DELETE | {"new_default": successor}
        answer = await customer.call("DELETE", f"{METHODS}/{card['id']}", body)
        assert answer.status_code == 404, successor
    assert await customer.methods() == [card]


async def test_a_removed_card_does_not_come_back_with_its_old_setup_intent(
    customer: Customer,
) -> None:
    begun = await customer.begin()
    reference = begun["provider_reference"]
    await customer.sandbox.confirm_as_client(reference, "pm_card_visa")
    card = (await customer.call("POST", METHODS, {"setup_intent_id": reference})).json()
    await customer.call("DELETE", f"{METHODS}/{card['id']}", DELETE)
    answer = await customer.call("POST", METHODS, {"setup_intent_id": reference})
    assert answer.status_code == 404
    assert await customer.methods() == []


async def test_the_last_card_of_a_paying_subscription_stays(customer: Customer) -> None:
    card = await customer.save()
    body = {"plan": "basic", "trial": False}
    subscribed = await customer.call("POST", "/billing/subscription", body, key="subscribe")
    assert subscribed.status_code == 201, subscribed.text
    assert subscribed.json()["status"] == "active"

    kept = await customer.call("DELETE", f"{METHODS}/{card['id']}", DELETE)

    assert kept.status_code == 409
    assert kept.json()["code"] == "PAYMENT_METHOD_IN_USE"
    second = await customer.save("pm_card_mastercard")
    named = DELETE | {"new_default": second["id"]}
    gone = await customer.call("DELETE", f"{METHODS}/{card['id']}", named)
    assert gone.status_code == 200, gone.text


async def test_the_last_card_of_a_trial_may_go(customer: Customer) -> None:
    card = await customer.save()
    subscribed = await customer.call("POST", "/billing/subscription", {"plan": "basic"})
    assert subscribed.json()["status"] == "trialing", subscribed.text
    gone = await customer.call("DELETE", f"{METHODS}/{card['id']}", DELETE)
    assert gone.status_code == 200, gone.text


async def test_a_card_with_a_purchase_on_its_way_stays(customer: Customer) -> None:
    card = await customer.save()
    owner = await customer.stripe_customer()
    fault = await customer.sandbox.fault(
        "error_500_unstored", method="POST", path="/v1/payment_intents", customer=owner, times=None
    )
    body = {"pack": "small", "payment_method": "saved_card"}
    bought = asyncio.create_task(customer.call("POST", "/billing/purchases", body, key="buy"))

    async def on_its_way() -> Any:
        return await customer.rows("SELECT 1 FROM payments WHERE status = 'pending'")

    await until(on_its_way, bool)
    answer = await customer.call("DELETE", f"{METHODS}/{card['id']}", DELETE)
    await customer.sandbox.clear("faults", fault)
    assert answer.status_code == 409
    assert answer.json()["code"] == "PAYMENT_METHOD_IN_USE"
    assert (await bought).status_code == 201

    async def taken_away() -> int:
        gone = await customer.call("DELETE", f"{METHODS}/{card['id']}", DELETE)
        return gone.status_code

    await until(taken_away, lambda status: status == 200)


async def test_a_card_renewed_by_its_bank_has_its_new_expiry(customer: Customer) -> None:
    await customer.save()
    [row] = await customer.rows("SELECT stripe_payment_method_id AS id FROM payment_methods")
    await customer.stripe(
        "POST",
        f"/v1/payment_methods/{row.id}",
        **{"card[exp_year]": "2044", "card[exp_month]": "7"},
    )
    [method] = await customer.eventually(lambda methods: methods[0]["exp_year"] == 2044)
    assert method["exp_month"] == 7
    assert (await actions(customer))[-1] == "payment_method.updated"


async def test_a_card_detached_in_stripes_dashboard_is_gone_here_too(customer: Customer) -> None:
    await customer.save()
    [row] = await customer.rows("SELECT stripe_payment_method_id AS id FROM payment_methods")
    await customer.stripe("POST", f"/v1/payment_methods/{row.id}/detach")
    await customer.eventually(lambda methods: methods == [])


async def test_every_change_of_a_card_is_in_the_audit_trail_and_told_outside(
    customer: Customer,
) -> None:
    first, second = await customer.save(), await customer.save("pm_card_mastercard")
    await customer.call("PATCH", f"{METHODS}/{first['id']}", {"label": "old"})
    await choose(customer, second)
    await customer.call("DELETE", f"{METHODS}/{first['id']}", DELETE)

    async def trail() -> Any:
        return await actions(customer)

    assert await until(trail, lambda seen: "payment_method.detached" in seen) == [
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
    assert await events(customer) == [
        "payment_method.added",
        "payment_method.chosen",
        "payment_method.added",
        "payment_method.chosen",
        "payment_method.removed",
    ]


async def test_another_accounts_card_is_not_found(customer: Customer, new_customer: Any) -> None:
    card = await customer.save()
    stranger: Customer = await new_customer()
    own = await stranger.save()
    for method, path, body in (
        ("GET", card["id"], None),
        ("PATCH", card["id"], {"label": "mine"}),
        ("DELETE", card["id"], DELETE),
        ("DELETE", own["id"], DELETE | {"new_default": card["id"]}),
        ("POST", f"{card['id']}/default", DEFAULT),
    ):
        answer = await stranger.call(method, f"{METHODS}/{path}", body)
        assert answer.status_code == 404, (method, path)
    assert await customer.methods() == [card]
    assert await stranger.methods() == [own]
