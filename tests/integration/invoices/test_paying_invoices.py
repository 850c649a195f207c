"""Paying an invoice: what may be paid, once per key, and what is said while nobody knows."""

import asyncio

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import overdue, owed, tried


def pay(invoice: str) -> str:
    return f"/billing/invoices/{invoice}/pay"


async def test_paying_needs_a_key_because_money_moves(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    answer = await customer.call("POST", pay(debt), {})
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    assert await tried(customer) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"payment_method": "cash"},
        {"payment_method": "card", "payment_method_id": "mth_1"},
        {"payment_method_id": 7},
        {"amount": 100},
    ],
)
async def test_a_bad_body_pays_nothing(customer: Customer, body: Json) -> None:
    path = pay("inv_00000000000000000000000000")
    await customer.refused("VALIDATION_FAILED", "POST", path, body, key="k")


async def test_what_is_not_owed_cannot_be_paid(customer: Customer) -> None:
    path = pay("inv_00000000000000000000000000")
    await customer.refused("INVOICE_NOT_FOUND", "POST", path, {}, key="k")
    bought = await customer.bought()
    await customer.refused("INVOICE_ALREADY_PAID", "POST", pay(bought["invoice_id"]), {}, key="l")
    begun = await customer.buy("small")
    refused = await customer.refused("INVOICE_STATE", "POST", pay(begun["invoice_id"]), {}, key="m")
    assert refused["invoice_status"] == "draft"
    assert refused["detail"] == "an invoice that is draft is paid through its purchase"


async def test_a_draft_of_an_unpaid_period_and_a_void_one_cannot_be_paid(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    await customer.advance(to="2027-03-05T10:00:00Z")
    [draft] = (await customer.ask("GET", "/billing/invoices?status=draft"))["data"]
    await customer.refused("INVOICE_STATE", "POST", pay(draft["invoice_id"]), {}, key="k")
    await customer.script("succeed", then="last")
    await customer.ask("POST", pay(debt), {}, key="l", status=200)
    [void] = (await customer.ask("GET", "/billing/invoices?status=void"))["data"]
    assert void["invoice_id"] == draft["invoice_id"]
    await customer.refused("INVOICE_STATE", "POST", pay(void["invoice_id"]), {}, key="m")


async def test_without_a_card_there_is_nothing_to_charge(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    await customer.rows(
        "UPDATE payment_methods SET status = 'detached', is_default = false"
        " WHERE account_id = %(me)s"
    )
    await customer.refused("PAYMENT_METHOD_REQUIRED", "POST", pay(debt), {}, key="k")


async def test_the_first_invoice_of_a_subscription_is_paid_by_another_card(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    card = await customer.save_card()
    await customer.script("insufficient_funds", "succeed")
    begun = await customer.subscribe("pro")
    assert begun["status"] == "incomplete"
    paid = await customer.ask("POST", pay(begun["latest_invoice_id"]), {}, key="k", status=200)
    assert (paid["status"], paid["attempts"][-1]["payment_method_id"]) == ("paid", card["id"])
    assert (await customer.subscription())["status"] == "active"


async def test_twenty_payers_at_once_charge_once(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    debt = (await owed(customer))["invoice_id"]
    answers = await asyncio.gather(
        *(customer.call("POST", pay(debt), {}, key=f"key-{number}") for number in range(20))
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes.count(200) == 1, [answer.text for answer in answers]
    assert set(codes) <= {200, 400, 409}
    assert len(await customer.effects()) == 2


async def test_twenty_requests_with_one_key_charge_once(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    debt = (await owed(customer))["invoice_id"]
    answers = await asyncio.gather(
        *(customer.call("POST", pay(debt), {}, key="one") for _ in range(20))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"IDEMPOTENCY_IN_FLIGHT"}
    assert len(await customer.effects()) == 2


async def test_while_nobody_knows_the_answer_says_wait_and_the_same_key_asks_again(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    debt = (await owed(customer))["invoice_id"]
    fault = await actors.sandbox.fault(
        "timeout_after",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
        seconds=3,
    )
    blind = await actors.sandbox.fault(
        "error_500_unstored",
        method="GET",
        path="/v1/payment_intents/*",
        metadata={"account": customer.id},
        times=None,
    )
    lost = await actors.sandbox.fault(
        "error_500_unstored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
        times=None,
    )
    async with customer.unheard():
        waiting = await customer.ask("POST", pay(debt), {}, key="one", status=202)
        assert waiting["next_action"] == {"type": "wait"}
        await customer.refused("PAYMENT_PENDING", "POST", pay(debt), {}, key="two")
        for number in (fault, blind, lost):
            await actors.sandbox.clear("faults", number)
        paid = await customer.ask("POST", pay(debt), {}, key="one", status=200)
    assert paid["status"] == "paid"
    assert [one["status"] for one in paid["attempts"]] == ["declined", "succeeded"]
    assert len(await customer.effects()) == 2, "the effect had happened, and happened once"


async def test_stripe_away_is_proven_and_said(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    debt = (await owed(customer))["invoice_id"]
    fault = await actors.sandbox.fault(
        "error_500_unstored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
        times=None,
    )
    await customer.refused("PLATFORM_ERROR", "POST", pay(debt), {}, key="one")
    await actors.sandbox.clear("faults", fault)
    paid = await customer.ask("POST", pay(debt), {}, key="one", status=200)
    assert paid["status"] == "paid"
    assert len(await customer.effects()) == 2


async def test_an_amount_that_changed_is_charged_as_it_is_now(actors: Actors) -> None:
    """Time not served is credited at cancellation; the intent over all of it is called back."""
    customer = await overdue(actors)
    await customer.advance(to="2027-02-08T10:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    debt = (await owed(customer))["invoice_id"]
    offered = await customer.ask("POST", pay(debt), {"payment_method": "card"}, key="k")
    assert offered["next_action"]["type"] == "confirm_card"
    await customer.script("succeed")
    await customer.pay(offered)

    async def status() -> str:
        return str((await customer.ask("GET", f"/billing/invoices/{debt}"))["status"])

    await wait_for(status, "it is paid", lambda seen: seen == "paid")
    assert [effect["amount"] for effect in await customer.effects()] == [4900, 1225]
