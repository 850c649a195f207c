"""A process that dies between its commit and its answer: the same key gets the first answer, and
nothing is done a second time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from temporalio.service import RPCError, RPCStatusCode

from api.idempotency import Claim
from api.monitoring.health_checks import PartHealth
from api.routes import (
    addresses,
    payment_methods,
    subscription_changes,
    subscription_commands,
    subscription_previews,
)
from billing.core.clock import real_now
from billing.money.subscriptions import service
from billing.money.subscriptions.previews import tokens
from tests.integration.actors import Customer, Json, wait_for
from tests.integration.api_app import Api
from tests.integration.arrears.test_single_charges import CHARGED
from tests.integration.coupons.coupons_made import coupon
from tests.integration.lost_answers import lose_answer
from tests.integration.money_seen import charged

PATH = "/billing/subscription"
ADDRESS: Json = {"line1": "1 Main St", "city": "Springfield", "country": "US"}
Dies = Callable[..., Any]


class Died(Exception):
    """The process is gone."""


def unanswered(*_: object) -> None:
    """Die instead of answering."""
    raise Died


@pytest.fixture
def customer(customer: Customer, api: Api) -> Customer:
    """Its requests come to this process."""
    return replace(customer, actors=replace(customer.actors, client=api.client))


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> Dies:
    """A request that is carried out and never answered; answers its key."""

    async def gone(*_: object) -> None:
        raise Died

    async def ask(
        customer: Customer, after: tuple[ModuleType, str], method: str, path: str,
        body: Json | None = None,
    ) -> str:  # fmt: skip
        key = str(uuid4())
        with monkeypatch.context() as patched:
            patched.setattr(*after, gone)
            assert (await customer.call(method, path, body, key=key)).status_code == 500
        return key

    return ask


ORDER = (subscription_commands, "wait_until_done")


async def test_a_cancel_that_comes_again_leaves_the_next_subscription_alone(
    customer: Customer, dies: Dies
) -> None:
    first = await customer.subscribed("pro")
    key = await dies(customer, ORDER, "POST", f"{PATH}/cancel", {"at": "now"})
    await customer.until_subscription("canceled")
    second = await customer.subscribe("basic")
    await customer.until_subscription("active")
    again = await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, key=key, status=200)
    assert (again["subscription_id"], again["status"]) == (first["subscription_id"], "canceled")
    now = await customer.subscription()
    assert (now["subscription_id"], now["status"]) == (second["subscription_id"], "active")


async def test_a_cancel_that_was_taken_back_is_not_given_again(
    customer: Customer, dies: Dies
) -> None:
    await customer.subscribed("pro")
    key = await dies(customer, ORDER, "POST", f"{PATH}/cancel")
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    again = await customer.ask("POST", f"{PATH}/cancel", key=key, status=200)
    assert again["cancel_at_period_end"]
    assert not (await customer.subscription())["cancel_at_period_end"]


async def test_a_coupon_is_redeemed_and_taken_off_once(customer: Customer, dies: Dies) -> None:
    code = await coupon(customer.actors, percent="25", duration="forever")
    await customer.subscribed("pro")
    key = await dies(customer, ORDER, "POST", f"{PATH}/coupon", {"code": code})
    again = await customer.ask("POST", f"{PATH}/coupon", {"code": code}, key=key, status=200)
    assert [one["code"] for one in again["discounts"]] == [code]
    key = await dies(customer, ORDER, "DELETE", f"{PATH}/coupon/{code}")
    again = await customer.ask("DELETE", f"{PATH}/coupon/{code}", key=key, status=200)
    assert again["discounts"] == []


async def test_what_was_removed_is_removed_again(customer: Customer, dies: Dies) -> None:
    card = await customer.save_card()
    path = f"/billing/payment-methods/{card['id']}"
    told = (payment_methods, "notify_changed")
    key = await dies(customer, told, "DELETE", path, {"confirm": "DELETE"})
    removed = await customer.ask("DELETE", path, {"confirm": "DELETE"}, key=key, status=200)
    assert removed["id"] == card["id"]
    at_home = await customer.ask("POST", "/billing/addresses", ADDRESS, status=201)
    path = f"/billing/addresses/{at_home['address_id']}"
    key = await dies(customer, (addresses, "until_asked"), "DELETE", path)
    removed = await customer.ask("DELETE", path, key=key, status=200)
    assert removed["address_id"] == at_home["address_id"]


async def test_a_change_is_found_after_its_card_was_removed(customer: Customer) -> None:
    await customer.subscribed("basic")
    [first] = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    second = await customer.save_card("pm_card_mastercard")
    wish, key = {"plan": "pro", "payment_method_id": first["id"]}, str(uuid4())
    changed = await customer.ask("PUT", PATH, wish, key=key, status=200)
    await lose_answer(customer.actors, key)
    gone = {"confirm": "DELETE", "new_default": second["id"]}
    path = f"/billing/payment-methods/{first['id']}"
    await customer.ask("DELETE", path, gone, status=200)
    again = await customer.ask("PUT", PATH, wish, key=key, status=200)
    assert (again["plan"]["key"], again["subscription_id"]) == ("pro", changed["subscription_id"])


async def test_a_change_is_found_after_the_end_of_its_preview(
    customer: Customer, dies: Dies, monkeypatch: pytest.MonkeyPatch
) -> None:
    await customer.subscribed("basic")
    seen = await customer.ask("POST", f"{PATH}/preview", {"plan": "pro"}, status=200)
    wish = {"plan": "pro", "preview_token": seen["preview_token"]}
    key = await dies(customer, (subscription_changes, "wait_until_done"), "PUT", PATH, wish)
    later = real_now() + tokens.LIFETIME + timedelta(seconds=1)
    monkeypatch.setattr(subscription_previews, "real_now", lambda: later)
    await customer.refused("PREVIEW_EXPIRED", "PUT", PATH, wish)
    again = await customer.ask("PUT", PATH, wish, key=key, status=200)
    assert again["plan"]["key"] == "pro"


async def test_another_plan_in_a_trial_is_not_chosen_again(customer: Customer, dies: Dies) -> None:
    await customer.save_card()
    await customer.subscribe("basic", trial=True)
    changed = (subscription_changes, "wait_until_done")
    key = await dies(customer, changed, "PUT", PATH, {"plan": "pro"})
    await customer.ask("PUT", PATH, {"plan": "basic", "at": "now"}, status=200)
    again = await customer.ask("PUT", PATH, {"plan": "pro"}, key=key, status=200)
    assert again["plan"]["key"] == "pro"
    assert (await customer.subscription())["plan"]["key"] == "basic"


async def test_a_card_that_was_chosen_is_not_chosen_again(customer: Customer, dies: Dies) -> None:
    first, second = await customer.save_card(), await customer.save_card()
    path = f"/billing/payment-methods/{first['id']}/default"
    key = await dies(customer, (payment_methods, "notify_changed"), "POST", path)
    await customer.ask("POST", f"/billing/payment-methods/{second['id']}/default", status=200)
    again = await customer.ask("POST", path, key=key, status=200)
    assert again["is_default"]
    cards = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    assert [one["id"] for one in cards if one["is_default"]] == [second["id"]]


async def test_an_address_that_was_chosen_is_not_chosen_again(
    customer: Customer, dies: Dies
) -> None:
    first, second = [
        await customer.ask("POST", "/billing/addresses", ADDRESS, status=201) for _ in range(2)
    ]
    chosen, path = {"is_default": True}, f"/billing/addresses/{second['address_id']}"
    key = await dies(customer, (addresses, "until_asked"), "PATCH", path, chosen)
    await customer.ask("PATCH", f"/billing/addresses/{first['address_id']}", chosen, status=200)
    again = await customer.ask("PATCH", path, chosen, key=key, status=200)
    assert again["is_default"]
    listed = (await customer.ask("GET", "/billing/addresses"))["data"]
    assert [one["address_id"] for one in listed if one["is_default"]] == [first["address_id"]]


async def test_texts_and_labels_that_were_replaced_are_not_written_again(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = f"/billing/payment-methods/{(await customer.save_card())['id']}"
    for method, path, field in (("PUT", "/billing/details", "memo"), ("PATCH", card, "label")):
        key = str(uuid4())
        with monkeypatch.context() as patched:
            patched.setattr(Claim, "answer", unanswered)
            assert (await customer.call(method, path, {field: "a"}, key=key)).status_code == 500
        await customer.ask(method, path, {field: "b"}, status=200)
        assert (await customer.ask(method, path, {field: "a"}, key=key, status=200))[field] == "a"
        listed = await customer.ask("GET", path.removesuffix(card.rpartition("/")[2]).rstrip("/"))
        assert listed.get("data", [listed])[0][field] == "b"


async def test_operators_get_the_first_answer_about_what_they_made(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operate, name = customer.actors.operate, uuid4().hex[:10].upper()
    coupon: Json = {"code": name, "name": "One", "percent": "25", "duration": "once"}
    for path, body in (("/admin/coupons", coupon), ("/admin/accounts", {"external_id": name})):
        key = str(uuid4())
        with monkeypatch.context() as patched:
            patched.setattr(Claim, "answer", unanswered)
            await operate("POST", path, body, key=key, status=500)
        again = await operate("POST", path, body, key=key, status=201)
        assert name in (again.get("code"), again.get("external_id"))


async def test_while_the_first_request_waits_its_key_is_in_flight(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await customer.subscribed("pro")
    key, committed, go_on = str(uuid4()), asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        committed.set()
        await go_on.wait()

    monkeypatch.setattr(*ORDER, slow)
    first = asyncio.create_task(customer.ask("POST", f"{PATH}/cancel", key=key, status=200))
    await committed.wait()
    await customer.refused("IDEMPOTENCY_IN_FLIGHT", "POST", f"{PATH}/cancel", key=key)
    go_on.set()
    answered = await first
    assert await customer.ask("POST", f"{PATH}/cancel", key=key, status=200) == answered


async def test_an_act_whose_key_was_taken_over_is_undone(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await customer.subscribed("pro")
    key, carried_out = str(uuid4()), service.carry_out

    async def late(*given: Any, **more: Any) -> Any:
        """The lease is over meanwhile, and a repeat of the request has the key."""
        await lose_answer(customer.actors, key)
        monkeypatch.setattr(service, "carry_out", carried_out)
        await customer.ask("POST", f"{PATH}/cancel", key=key, status=200)
        await customer.ask("POST", f"{PATH}/reactivate", status=200)
        return await carried_out(*given, **more)

    monkeypatch.setattr(service, "carry_out", late)
    await customer.refused("IDEMPOTENCY_IN_FLIGHT", "POST", f"{PATH}/cancel", key=key)
    assert not (await customer.subscription())["cancel_at_period_end"]


async def test_a_subscribe_that_comes_again_gives_nothing_up(customer: Customer) -> None:
    wish, key = {"plan": "pro", "trial": False}, str(uuid4())
    first = await customer.ask("POST", PATH, wish, key=key, status=201)
    await lose_answer(customer.actors, key)
    second = await customer.subscribe("basic")
    again = await customer.ask("POST", PATH, wish, key=key, status=201)
    assert (again["subscription_id"], again["status"]) == (
        first["subscription_id"], "incomplete_expired",
    )  # fmt: skip
    await customer.pay(second)
    assert (await customer.until_subscription("active"))["plan"]["key"] == "basic"
    assert await charged(customer) == [1900]


async def test_a_wish_that_is_refused_gives_nothing_up(customer: Customer) -> None:
    first = await customer.subscribe("pro")
    wish = {"plan": "basic", "trial": False, "coupon": "NOT-A-COUPON"}
    await customer.refused("INVALID_COUPON", "POST", PATH, wish)
    await customer.pay(first)
    assert (await customer.until_subscription("active"))["plan"]["key"] == "pro"


@pytest.fixture
def temporal_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make this process find that Temporal does not answer."""

    async def away(*_: object) -> PartHealth:
        return PartHealth(status="unhealthy", milliseconds=1)

    return lambda: monkeypatch.setattr(api.app.state.services.health, "part", away)


async def test_without_temporal_a_key_still_gets_its_first_answer(
    customer: Customer, temporal_away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = await customer.buy("small", "manual")
    report: Json = {
        "invoice_id": bought["invoice_id"],
        "payment_method": "bank_transfer",
        "transaction_reference": "T-1",
    }
    told = ("POST", "/billing/payments/manual", report)
    first = await customer.ask(*told, key="k", status=201)
    payment = f"/admin/payments/{first['payment_id']}"
    refund = ("POST", f"{payment}/refund", {"amount_cents": 1, "reason": "sorry"})
    operate = customer.actors.operate
    approved = await operate("POST", f"{payment}/approve", key="k", status=200)
    refunded = await operate(*refund, key="k", status=200)
    temporal_away()
    assert await customer.ask(*told, key="k", status=201) == first
    assert await operate("POST", f"{payment}/approve", key="k", status=200) == approved
    assert await operate(*refund, key="k", status=200) == refunded
    for _ in range(2):
        new = await operate(*refund, key="new", status=503)
        assert new["code"] == "TEMPORAL_UNAVAILABLE"
    monkeypatch.undo()
    assert (await operate("GET", f"{payment}/refunds"))["data"] == [refunded]
    assert await operate(*refund, key="new", status=200) != refunded


async def test_without_temporal_an_undecided_purchase_is_still_undecided(
    customer: Customer, temporal_away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: object) -> None:
        raise RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")

    sandbox, body = customer.actors.sandbox, {"pack": "small", "payment_method": "card"}
    mine, path = {"account": customer.id}, "/v1/payment_intents"
    away = await sandbox.fault("error_429", method="POST", path=path, metadata=mine, times=None)
    ask = ("POST", "/billing/purchases", body)
    first = await customer.ask(*ask, key="k", status=202)
    temporal_away()
    monkeypatch.setattr("workflows.start.free", unreachable)
    for _ in range(2):
        again = await customer.ask(*ask, key="k", status=202)
        assert (again["purchase_id"], again["next_action"]) == (
            first["purchase_id"], {"type": "wait"},
        )  # fmt: skip
    await sandbox.clear("faults", away)
    monkeypatch.undo()
    ready = await wait_for(
        lambda: customer.purchase(first["purchase_id"]),
        "its payer can pay",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    assert (await customer.ask(*ask, key="k", status=201)) == ready


async def test_without_temporal_what_is_done_is_no_503(
    customer: Customer, temporal_away: Callable[[], None]
) -> None:
    await customer.save_card()
    key, use = str(uuid4()), CHARGED | {"event_id": "once"}
    done = await customer.buy("small", "saved_card", key=key)
    recorded = await customer.ask("POST", "/usage/record", use, status=201)
    await lose_answer(customer.actors, key)
    temporal_away()
    assert await customer.buy("small", "saved_card", key=key) == done
    assert await customer.ask("POST", "/usage/record", use) == recorded
    rows: Json = {"events": [use, CHARGED | {"event_id": "new"}]}
    answers = (await customer.ask("POST", "/usage/batch", rows))["results"]
    assert [(one["status"], one.get("code")) for one in answers] == [
        ("duplicate", None), ("rejected", "TEMPORAL_UNAVAILABLE"),
    ]  # fmt: skip
