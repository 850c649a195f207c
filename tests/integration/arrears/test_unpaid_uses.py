"""Uses that were put off, or whose card failed, are settled by the account's own matter."""

from decimal import Decimal
from functools import partial
from typing import Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.deferred_uses import LATER, put_off, until
from tests.integration.operator_acts import check_books, give
from tests.integration.waiting import wait_for

START: Final = "2027-01-01T10:00:00Z"


async def declined(customer: Customer, amount: str = "1000") -> str:
    """A use that a card was to pay at once and did not: its record's path."""
    body = {"product_id": "gpt-4", "usage_amount": amount, "billing_method": "payment_charge"}
    failed = await customer.refused(
        "CARD_DECLINED", "POST", "/usage/record", body | {"event_id": str(uuid4())}
    )
    return f"/billing/records/{failed['billing_id']}"


async def status(customer: Customer, path: str) -> str:
    return str((await customer.ask("GET", path))["billing_status"])


async def unpaid(customer: Customer) -> Json:
    """The most that may be left unpaid, asked for by a use that is too much."""
    body = LATER | {"usage_amount": "1000000"}
    return await customer.refused("UNPAID_LIMIT", "POST", "/usage/record", body)


async def test_credits_that_are_bought_pay_what_was_put_off(actors: Actors) -> None:
    customer = await actors.customer()
    path = await put_off(customer, "1000")
    assert (await unpaid(customer))["unpaid"] == "2.00"
    await customer.bought("small")
    await until(customer, path, "completed")
    assert await customer.credits() == 98
    assert (await unpaid(customer))["unpaid"] == "0"
    assert (await customer.published()).count("evt.billing.usage.settled") == 1
    await check_books(customer)


async def test_the_oldest_are_paid_first_as_far_as_credits_go(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    uses = []
    for hour, amount in enumerate(("10000", "15000", "5000", "2000"), 11):  # 20, 30, 10, 4 credits
        uses.append(await put_off(customer, amount))
        await customer.advance(to=f"2027-01-01T{hour}:00:00Z")
    await give(customer, "25")
    await until(customer, uses[-1], "completed")
    assert [await status(customer, path) for path in uses] == [
        "completed", "pending", "pending", "completed",
    ]  # fmt: skip
    assert await customer.credits() == 1
    await give(customer, "45")
    await until(customer, uses[2], "completed")
    assert [await status(customer, path) for path in uses] == ["completed"] * 4
    assert await customer.credits() == 6
    spent = await customer.rows(
        "SELECT key FROM credit_transactions WHERE account_id = %(me)s AND kind = 'debit'"
    )
    assert len(spent) == 4
    await check_books(customer)


@pytest.mark.parametrize(
    ("how", "body", "left"), [("release", {}, 3), ("capture", {"amount": "1"}, 2)]
)
async def test_credits_that_a_hold_gives_back_pay_too(
    actors: Actors, how: str, body: Json, left: int
) -> None:
    customer = await actors.customer()
    await give(customer, "5")
    wanted = {"amount": "4", "reason": "chat"}
    hold = await customer.ask("POST", "/billing/credits/holds", wanted, status=201)
    path = await put_off(customer, "1000")
    await customer.ask("POST", f"/billing/credits/holds/{hold['hold_id']}/{how}", body)
    await until(customer, path, "completed")
    assert await customer.credits() == left
    await check_books(customer)


async def test_a_use_of_bought_credits_alone_waits_for_such_and_keeps_nobody_waiting(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    body = LATER | {"usage_amount": "500", "billing_method": "wallet_deduction"}
    done = await customer.ask("POST", "/usage/record", body, status=201)
    await customer.advance(to="2027-01-01T11:00:00Z")
    other = await put_off(customer, "1000")
    await give(customer, "5")
    await until(customer, other, "completed")
    path = f"/billing/records/{done['billing_id']}"
    assert await status(customer, path) == "pending"
    await customer.bought("small")
    await until(customer, path, "completed")
    assert await customer.credits() == 102
    await check_books(customer)


async def test_what_stays_unpaid_is_told_once_and_paid_by_the_card(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    first, second = [await put_off(customer, amount) for amount in ("1000", "2000")]
    future = await customer.ask("GET", "/billing/timeline")
    assert {"tell_unpaid", "charge_use"} <= {one["name"] for one in future["future"]}
    await customer.advance(days=6)
    assert "evt.billing.usage.unpaid" not in await customer.published()
    assert await customer.effects() == []
    await customer.advance(days=1)
    for path in (first, second):
        paid = await until(customer, path, "completed")
        assert paid["billing_method"] == "payment_charge"
    assert sorted(one["amount"] for one in await customer.effects()) == [200, 400]
    told = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s AND type = 'evt.billing.usage.unpaid'"
    )
    assert [one["data"] | {"since": None} for one in told] == [
        {"uses": 2, "total": "6.00", "currency": "CREDIT", "since": None}
    ]
    assert [one["status"] for one in await customer.invoices()] == ["paid", "paid"]
    assert (await unpaid(customer))["unpaid"] == "0"
    await customer.advance(days=30)
    assert len(await customer.effects()) == 2
    assert (await customer.published()).count("evt.billing.usage.unpaid") == 1
    await check_books(customer)


async def test_nobody_is_asked_for_3d_secure_when_a_week_is_over(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card("pm_card_authenticationRequiredSetupForOffSession")
    path = await put_off(customer, "1000")
    await customer.advance(days=7)
    await until(customer, path, "completed")
    assert [one["amount"] for one in await customer.effects()] == [200]
    await customer.script("authentication_required", then="last")
    path = await put_off(customer, "1000")
    await customer.advance(days=7)
    await until(customer, path, "failed")
    (newest, *_) = await customer.rows(
        "SELECT status, decline_code FROM payment_attempts WHERE account_id = %(me)s"
        " ORDER BY real_started_at DESC"
    )
    assert newest == {"status": "declined", "decline_code": "authentication_required"}
    await check_books(customer)


async def test_a_card_that_declines_is_tried_once_and_credits_still_pay(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.script("insufficient_funds", then="last")
    first, second = [await put_off(customer, amount) for amount in ("1000", "2000")]
    await customer.advance(days=7)
    await until(customer, first, "failed")
    assert await status(customer, second) == "pending", "a day passes before the next try"
    await customer.advance(days=30)
    assert await status(customer, second) == "failed"
    assert len(await customer.effects("charge.failed")) == 2
    await check_books(customer)
    await give(customer, "2")
    await until(customer, first, "completed")
    assert (await customer.ask("GET", first))["billing_method"] == "credit_consumption"
    assert await status(customer, second) == "failed"
    await check_books(customer)


async def test_another_card_pays_what_the_first_one_did_not(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    path = await put_off(customer, "1000")
    await customer.advance(days=8)
    assert await status(customer, path) == "pending"
    await customer.save_card()
    await until(customer, path, "completed")
    assert [one["amount"] for one in await customer.effects()] == [200]
    await check_books(customer)


async def test_another_card_pays_what_the_first_one_is_just_failing_to_pay(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    path = await put_off(customer, "1000")
    await customer.advance(days=8)
    await customer.save_card("pm_card_chargeCustomerFail")
    await until(customer, path, "failed")
    await customer.script("processing", then="normal")
    by_card = {"billing_id": path.rpartition("/")[2], "billing_method": "payment_charge"}
    await customer.ask("POST", "/billing/process", by_card, status=202, key="a")
    tried = await tries(customer)
    await customer.save_card(make_default=True)
    looked = await wait_for(partial(tries, customer), "it is looked at", lambda one: one > tried)
    await customer.advance(to="2027-01-09T20:00:00Z")
    assert await tries(customer) == looked, "a bank takes days"
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments WHERE account_id = %(me)s"
        " AND closed_at IS NULL"
    )
    await actors.sandbox.settle(payment["intent"], "insufficient_funds")
    await until(customer, path, "failed")
    await customer.advance(days=1)
    await until(customer, path, "completed")
    assert [one["amount"] for one in await customer.effects()] == [200]
    await check_books(customer)


async def tries(customer: Customer) -> int:
    """The number of tries to have a card pay its one unpaid use."""
    (use,) = await customer.rows("SELECT tries FROM unpaid_uses WHERE account_id = %(me)s")
    return int(use["tries"])


async def test_a_use_whose_card_was_declined_at_once_is_tried_again_in_a_week(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.bought()
    await customer.save_card()
    await customer.script("insufficient_funds", then="normal")
    path = await declined(customer)
    assert await status(customer, path) == "failed"
    await customer.advance(days=7)
    await until(customer, path, "completed")
    assert [one["amount"] for one in await customer.effects()] == [999, 200]
    told = [one for one in await customer.published() if one.startswith("evt.billing.usage.")]
    assert told == [
        "evt.billing.usage.failed", "evt.billing.usage.unpaid",
        "evt.billing.usage.retried", "evt.billing.usage.settled",
    ]  # fmt: skip
    await check_books(customer)


async def test_credits_pay_what_a_card_declined_at_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.script("insufficient_funds", then="last")
    first, second, third = [await declined(customer, amount) for amount in ("1000", "2000", "500")]
    assert (await unpaid(customer))["unpaid"] == "7.00"
    await check_books(customer)
    await give(customer, "3.5")  # of 2, 4 and 1
    await until(customer, third, "completed")
    paid = await customer.ask("GET", first)
    assert [paid[name] for name in ("billing_status", "billing_method", "currency")] == [
        "completed", "credit_consumption", "CREDIT",
    ]  # fmt: skip
    assert (paid["unit_price"], paid["total_amount"], await customer.credits()) == (
        "0.002", "2.00", Decimal("0.5"),
    )  # fmt: skip
    assert (await customer.ask("GET", second))["currency"] == "USD"
    await check_books(customer)
    process = ("POST", "/billing/process")
    by_credits = {"billing_id": second.rpartition("/")[2], "billing_method": "credit_consumption"}
    await customer.refused("INSUFFICIENT_CREDITS", *process, by_credits, key="too few")
    kept = await customer.ask("GET", second)
    assert (kept["billing_method"], kept["total_amount"]) == ("payment_charge", "4.00")
    await check_books(customer)
    await give(customer, "4")
    await until(customer, second, "completed")
    assert (await unpaid(customer))["unpaid"] == "0"
    await check_books(customer)


async def test_credits_pay_it_at_once_when_they_are_asked_to(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.bought("small")
    await customer.save_card()
    await customer.script("insufficient_funds", then="last")
    path = await declined(customer)
    wallet = {"billing_id": path.rpartition("/")[2], "billing_method": "wallet_deduction"}
    paid = await customer.ask("POST", "/billing/process", wallet, key="pay it")
    assert (paid["billing_status"], paid["currency"], paid["total_amount"]) == (
        "completed", "CREDIT", "2.00",
    )  # fmt: skip
    assert await customer.credits() == 98
    await customer.advance(days=8)
    assert len(await customer.effects("charge.failed")) == 1
    await check_books(customer)


async def test_a_card_pays_what_was_put_off_when_it_is_asked_to(actors: Actors) -> None:
    customer = await actors.customer()
    path = await put_off(customer, "1000")
    by_card = {"billing_id": path.rpartition("/")[2], "billing_method": "payment_charge"}
    process = ("POST", "/billing/process", by_card)
    await customer.refused("PAYMENT_CHARGE_NOT_OFFERED", *process, key="without a card")
    await customer.save_card()
    settled = await customer.ask(*process, key="with one")
    assert (settled["billing_status"], settled["billing_method"]) == ("completed", "payment_charge")
    assert [one["amount"] for one in await customer.effects()] == [200]
    await give(customer, "5")
    assert await customer.credits() == 5
    await check_books(customer)
