"""The cancel of a purchase by its buyer: the provider is asked first, and its answer decides."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import httpx2
from sqlalchemy import event

from cli import step_back
from sandbox.control import Json
from tests.integration.actors import Actors, Customer, intent_of, wait_for
from tests.integration.api_app import Api, stack_settings
from tests.integration.credits.test_top_ups import AUTO, until, wants
from tests.integration.operator_acts import check_books
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.payments.test_paypal import approved_unheard, begun_by_paypal, is_captured
from tests.integration.workflows.test_purchase_events import cancellations
from tests.integration.workflows.test_purchases import proven_once

CANCEL = "/v1/payment_intents/*/cancel"
CONFIRM = "/v1/payment_intents/*/confirm"
SAVED = {"pack": "small", "payment_method": "saved_card"}
SUBSCRIPTION = "/billing/subscription"
HANGS_SECONDS = 6.0


async def hanging(customer: Customer, buying: Coroutine[Any, Any, httpx2.Response]) -> None:
    """Begin to buy; return once Stripe works on the charge, for longer than anybody waits."""
    sandbox = customer.actors.sandbox
    fault = await sandbox.fault(
        "hang", method="POST", path=CONFIRM, metadata={"account": customer.id},
        seconds=HANGS_SECONDS,
    )  # fmt: skip
    begun = asyncio.create_task(buying)

    async def hits() -> int:
        plans = {one["id"]: one["hits"] for one in await sandbox.plans("faults")}
        return int(plans[fault])

    await wait_for(hits, "Stripe works on the charge", bool)
    begun.add_done_callback(lambda done: done.exception())


def path_of(begun: Json) -> str:
    """The route that cancels it."""
    return f"/billing/purchases/{begun['purchase_id']}/cancel"


async def canceled(customer: Customer, begun: Json) -> Json:
    """Cancel it, and check that nobody was charged and nothing was granted."""
    ended = await customer.ask("POST", path_of(begun), status=200)
    assert (ended["status"], ended["next_action"]) == ("canceled", {"type": "none"})
    assert await customer.effects() == []
    assert await customer.grants() == []
    assert {one["status"] for one in await customer.invoices()} == {"void"}
    assert (await customer.published()).count("evt.billing.purchase.canceled") == 1
    return ended


async def test_a_purchase_that_waits_for_its_payer_is_canceled_at_the_provider_first(
    customer: Customer,
) -> None:
    begun = await customer.buy("small")
    await canceled(customer, begun)
    assert await cancellations(customer) == [200]
    assert (await customer.confirm(begun)).status == 400, "nobody can pay it any more"
    assert (await customer.ask("GET", "/billing/credits/balance"))["currency"] is None
    listed = await customer.ask("GET", "/billing/purchases?status=canceled")
    assert [one["purchase_id"] for one in listed["data"]] == [begun["purchase_id"]]


async def test_a_card_that_waits_for_3d_secure_is_let_go(customer: Customer) -> None:
    await customer.save_card()
    await customer.script("authentication_required")
    begun = await customer.buy("small", "saved_card")
    assert (begun["status"], begun["next_action"]["type"]) == ("pending", "confirm_card")
    await canceled(customer, begun)
    assert await cancellations(customer) == [200]


async def test_an_open_checkout_page_is_closed(customer: Customer) -> None:
    begun = await customer.buy("small", "checkout")
    await canceled(customer, begun)
    expired = await customer.requests("POST /v1/checkout/sessions/{session}/expire")
    assert [one["status"] for one in expired] == [200]


async def test_an_order_at_paypal_and_a_transfer_that_nobody_reported_are_canceled(
    actors: Actors,
) -> None:
    first, second = await actors.customer(), await actors.customer()
    begun, order = await begun_by_paypal(first)
    await canceled(first, begun)
    await actors.sandbox.paypal_approve(order)
    await canceled(second, await second.buy("small", "manual"))
    assert await first.grants() == []


async def test_an_order_that_was_approved_unheard_is_not_captured_after_its_cancel(
    customer: Customer,
) -> None:
    begun, order = await begun_by_paypal(customer)
    matter = f"purchase/{begun['purchase_id']}"
    await approved_unheard(customer, order, matter)
    await canceled(customer, begun)
    await customer.until_handled("CHECKOUT.ORDER.APPROVED")
    assert not await is_captured(customer, matter)


async def test_a_cancel_that_comes_again_says_the_same_and_does_nothing(customer: Customer) -> None:
    begun = await customer.buy("small")
    first = await customer.ask("POST", path_of(begun), status=200, key="stop")
    for key in ("stop", "another", None):
        assert await customer.ask("POST", path_of(begun), status=200, key=key) == first
    assert await cancellations(customer) == [200]
    assert (await customer.published()).count("evt.billing.purchase.canceled") == 1


async def test_ten_cancels_at_once_cancel_once(customer: Customer) -> None:
    begun = await customer.buy("small")
    answers = await asyncio.gather(*(customer.call("POST", path_of(begun)) for _ in range(10)))
    assert Counter(one.status_code for one in answers) == {200: 10}
    assert {one.json()["status"] for one in answers} == {"canceled"}
    assert (await customer.published()).count("evt.billing.purchase.canceled") == 1


async def test_money_that_the_provider_has_already_completes_it_and_the_answer_says_so(
    customer: Customer,
) -> None:
    begun = await customer.buy("small")
    async with customer.unheard():
        await customer.pay(begun)
        said = await customer.refused("PURCHASE_STATE", "POST", path_of(begun))
        assert (said["status"], said["state"]) == (409, "completed")
        await proven_once(customer, begun["purchase_id"])
    again = await customer.refused("PURCHASE_STATE", "POST", path_of(begun))
    assert again["state"] == "completed"
    assert await cancellations(customer) == [400], "Stripe was asked once, and said: paid"


async def test_a_cancel_beside_the_webhook_of_its_payment_ends_in_one_of_both(
    actors: Actors,
) -> None:
    buyers = [await actors.customer() for _ in range(4)]
    begun = [await one.buy("small") for one in buyers]

    async def race(customer: Customer, bought: Json, pause: float) -> None:
        paid, answer = await asyncio.gather(
            customer.confirm(bought), _after(pause, customer, path_of(bought))
        )
        is_paid = paid.status == 200
        assert answer == ((409, "PURCHASE_STATE") if is_paid else (200, None))
        if is_paid:
            await proven_once(customer, bought["purchase_id"])
        else:
            await canceled(customer, bought)

    races = zip(buyers, begun, (0.0, 0.02, 0.1, 0.3), strict=True)
    await asyncio.gather(*(race(*one) for one in races))


async def _after(pause: float, customer: Customer, path: str) -> tuple[int, str | None]:
    await asyncio.sleep(pause)
    answer = await customer.call("POST", path)
    return answer.status_code, answer.json().get("code")


async def test_what_the_bank_or_an_operator_decides_is_not_canceled(actors: Actors) -> None:
    customer, sender = await actors.customer(), await actors.customer()
    begun = await customer.buy("small")
    await customer.script("processing")
    async with customer.unheard():
        assert (await customer.confirm(begun)).body["status"] == "processing"
        said = await customer.refused("PAYMENT_PENDING", "POST", path_of(begun))
    assert said["status"] == 409
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    await actors.sandbox.settle(intent_of(begun))
    await proven_once(customer, begun["purchase_id"])

    by_hand = await sender.buy("small", "manual")
    report = await submit(sender, by_hand["invoice_id"])
    await sender.refused("PAYMENT_PENDING", "POST", path_of(by_hand))
    await decide(sender, report, "reject", reason="nothing came")
    await canceled(sender, by_hand)


async def test_while_the_provider_is_away_it_is_pending_and_canceled_later(
    api: Api, customer: Customer
) -> None:
    begun = await customer.buy("small")
    sandbox, named = customer.actors.sandbox, {"account": customer.id}
    away = await sandbox.fault(
        "error_500_unstored", method="POST", path=CANCEL, metadata=named, times=None
    )
    waiting = await customer.ask("POST", path_of(begun), status=202, key="stop")
    assert (waiting["status"], waiting["next_action"]) == ("pending", {"type": "wait"})
    unknown = await step_back.unknown(stack_settings(api.stack))
    assert any(one.startswith("purchases to be canceled") for one in unknown)
    await sandbox.clear("faults", away)
    await wait_for(
        lambda: customer.ask("POST", path_of(begun), key="stop"),
        "it is canceled", lambda seen: seen["status"] == "canceled",
    )  # fmt: skip
    await canceled(customer, begun)


async def test_a_saved_card_that_could_not_be_tried_before_the_cancel_is_never_charged(
    customer: Customer,
) -> None:
    await customer.save_card()
    sandbox, named = customer.actors.sandbox, {"account": customer.id}
    away = await sandbox.fault(
        "error_500_unstored", method="POST", path="/v1/payment_intents", metadata=named, times=None
    )
    begun = await customer.buy("small", "saved_card")
    assert (begun["status"], begun["next_action"]) == ("pending", {"type": "wait"})
    await canceled(customer, begun)
    await sandbox.clear("faults", away)
    tries = await customer.rows("SELECT status FROM payment_attempts WHERE account_id = %(me)s")
    assert [one["status"] for one in tries] == ["unreached"]
    assert await customer.effects() == []


async def test_a_top_up_that_its_buyer_cancels_is_no_failure_and_the_next_one_is_not_bought(
    customer: Customer,
) -> None:
    await customer.save_card()
    sandbox, named = customer.actors.sandbox, {"account": customer.id}
    away = await sandbox.fault(
        "error_500_unstored", method="POST", path="/v1/payment_intents", metadata=named, times=None
    )
    await wants(customer)
    (buying,) = await until(customer, "buying")
    assert (await customer.ask("POST", path_of(buying), status=200))["status"] == "canceled"
    await sandbox.clear("faults", away)
    (canceled,) = await until(customer, "failed")
    kept = await customer.ask("GET", AUTO)
    assert (canceled["reason"], kept["failures"]) == ("canceled", 0)
    assert kept["stopped_at"] == canceled["decided_at"]
    told = [name for name in await customer.published() if "top_up" in name]
    assert told[1:] == ["evt.billing.top_up.stopped", "evt.billing.top_up.failed"]
    await check_books(customer)
    await wants(customer)
    await until(customer, "failed", "completed")


async def test_a_part_that_was_paid_and_the_balance_go_back_to_the_balance(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    body = {"amount_cents": 400, "reason": "test"}
    await actors.operate(
        "POST", f"/admin/accounts/{customer.id}/balance/adjust", body, key="adjust"
    )
    begun = await customer.buy("small", "manual", key="k")
    report = await submit(customer, begun["invoice_id"], amount=100)
    await decide(customer, report, "approve")
    await wait_for(
        lambda: customer.purchase(begun["purchase_id"]), "the part is booked",
        lambda seen: seen["next_action"]["type"] == "manual",
    )  # fmt: skip
    await canceled(customer, begun)
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 500


async def test_a_page_of_purchases_asks_once_which_are_to_be_canceled(
    api: Api, customer: Customer
) -> None:
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    async def statements() -> int:
        seen.clear()
        headers = api.token(customer.id, ["billing"])
        answer = await api.client.get("/api/v1/billing/purchases", headers=headers)
        assert answer.status_code == 200
        return len(seen)

    await customer.buy("small")
    engine = api.database.tenant_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        one = await statements()
        await customer.buy("small")
        await customer.buy("small")
        assert await statements() == one
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_only_who_may_buy_may_cancel(actors: Actors) -> None:
    customer, stranger = await actors.customer(), await actors.customer()
    begun = await customer.buy("small")
    await customer.refused("FORBIDDEN", "POST", path_of(begun), role="member")
    await stranger.refused("PURCHASE_NOT_FOUND", "POST", path_of(begun))
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"


async def test_a_cancel_while_the_card_is_being_tried_leaves_what_stripe_decides(
    customer: Customer,
) -> None:
    await customer.save_card()
    await hanging(customer, customer.call("POST", "/billing/purchases", SAVED, key="hangs"))
    (begun,) = (await customer.ask("GET", "/billing/purchases"))["data"]
    refused = await customer.refused("PURCHASE_STATE", "POST", path_of(begun))
    assert refused["state"] == "completed", "it waits for what Stripe says"
    await proven_once(customer, begun["purchase_id"])
    assert await customer.credits() == 100
    await check_books(customer)


async def test_a_subscription_that_is_canceled_while_its_card_is_being_tried_keeps_no_money(
    customer: Customer,
) -> None:
    await customer.save_card()
    await hanging(customer, customer.call("POST", SUBSCRIPTION, {"plan": "basic", "trial": False}))
    ended = await customer.ask("POST", f"{SUBSCRIPTION}/cancel", {"at": "now"}, status=200)
    assert ended["status"] == "canceled"

    async def moved() -> list[tuple[str, int]]:
        return [(one["name"], one["amount"]) for one in await customer.effects(None)]

    await wait_for(
        moved,
        "what the card paid is given back",
        lambda seen: seen == [("charge.succeeded", 1900), ("refund.succeeded", 1900)],
    )
    assert (await customer.subscription())["status"] == "canceled"
    assert [one["status"] for one in await customer.invoices()] == ["void"]
    await check_books(customer)
