"""Uses that a saved card pays at once, tried and followed like any other charge."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import charged
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_money_balance import adjust
from tests.integration.waiting import wait_for

START = "2027-01-01T10:00:00Z"
CHARGED = {"product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge"}


async def use(customer: Customer, amount: str = "1000", **more: Any) -> Json:
    """A use of gpt-4, which costs 0.002 USD a unit, to be paid by card."""
    body = CHARGED | {"usage_amount": amount, "event_id": str(uuid4())}
    return await customer.ask("POST", "/usage/record", body | more, status=201)


async def test_a_saved_card_pays_a_use_at_once(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    quote = {"product_id": "gpt-4", "usage_amount": "1000"}
    offered = await customer.ask("POST", "/billing/calculate", quote)
    assert "payment_charge" in offered["available_billing_methods"]
    done = await use(customer, event_id="once")
    assert (done["billing_status"], done["total_cost"], done["currency"]) == (
        "completed", "2.00", "USD",
    )  # fmt: skip
    again = await use(customer, event_id="once")
    assert (again["billing_id"], again["billing_status"]) == (done["billing_id"], "completed")
    assert await charged(customer) == [200]
    (invoice,) = await customer.invoices()
    assert (invoice["status"], invoice["total_minor"], invoice["number"] is None) == (
        "paid", 200, False,
    )  # fmt: skip
    stats = await customer.ask("GET", "/stats")
    assert (stats["completed_billing_records"], stats["pending_billing_records"]) == (1, 0)


async def test_reports_count_what_a_card_paid_and_the_next_invoice_does_not(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    for user in ("ann", "bob"):
        await use(customer, user_id=user)
    for grouping in ("day", "meter", "user"):
        path = f"/usage/reports?format=json&group_by={grouping}"
        rows = (await customer.ask("GET", path))["data"]
        assert sum(float(row["overage"]) for row in rows) == 2000
        assert sum(float(row["overage_cost"]) for row in rows) == 4
    current = await customer.ask("GET", "/usage/current")
    assert current["overages"]["total_overage_cost"] == "0"


async def test_a_card_pays_a_price_by_tier_from_use_to_use(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    product = f"tiered-{uuid4().hex[:12]}"
    tiers = [{"up_to": "100", "unit_price": "0.05", "flat_price": "1"}, {"unit_price": "0.02"}]
    body = {
        "name": "Tiered", "meter": "mcp_service", "service_type": "mcp_service",
        "prices": {"USD": {"model": "graduated", "tiers": tiers}},
    }  # fmt: skip
    await customer.actors.operate("PUT", f"/admin/products/{product}", body)
    for amount, cost in (("60", "4.00"), ("90", "3.00"), ("100", "2.00")):
        quote = {"product_id": product, "usage_amount": amount}
        offered = await customer.ask("POST", "/billing/calculate", quote)
        assert (offered["total_cost"], offered["currency"]) == (cost, "USD")
        assert offered["available_billing_methods"] == ["payment_charge"]
        done = await use(customer, amount, product_id=product)
        assert (done["total_cost"], done["currency"]) == (cost, "USD")
    assert await charged(customer) == [400, 300, 200]


async def test_a_decline_fails_the_record_until_it_is_processed_anew(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await use(customer)
    await customer.script("insufficient_funds", then="normal")
    declined = CHARGED | {"event_id": "declined"}
    failed = await customer.refused("CARD_DECLINED", "POST", "/usage/record", declined)
    body = {"billing_id": failed["billing_id"]}
    record = await customer.ask("GET", f"/billing/records/{failed['billing_id']}")
    assert record["billing_status"] == "failed"
    settled = await customer.ask("POST", "/billing/process", body, key="anew")
    assert (settled["billing_status"], settled["billing_method"]) == ("completed", "payment_charge")
    assert (await customer.ask("POST", "/billing/process", body))["billing_status"] == "completed"
    assert await charged(customer) == [200, 200]
    assert [one["status"] for one in await customer.invoices()] == ["paid", "void", "paid"]


async def test_a_use_that_stripe_finds_too_small_fails_and_holds_up_no_other(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    payer, script = await customer.stripe_customer(), actors.sandbox.script
    await script(payer, "amount_too_small", purpose="amount")
    failed = await use(customer)
    assert failed["billing_status"] == "failed"
    await script(payer, purpose="amount")
    assert (await use(customer))["billing_status"] == "completed"
    again = await customer.ask(
        "POST", "/billing/process", {"billing_id": failed["billing_id"]}, key="anew"
    )
    assert again["billing_status"] == "completed"
    assert await charged(customer) == [200, 200]


async def test_what_is_too_small_for_a_card_waits_for_the_next_invoice(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    small = CHARGED | {"usage_amount": "10", "event_id": "small"}
    await customer.refused("PAYMENT_CHARGE_NOT_OFFERED", "POST", "/usage/record", small)
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    done = await use(customer, "10")
    assert (done["billing_status"], done["total_cost"]) == ("completed", "0.02")
    await customer.advance(days=31)
    assert await charged(customer) == [1900, 1902]


async def test_nobody_carries_more_than_the_smallest_charge(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.subscribe("free")
    for amount in ("245", "245", "200", "50", "1000", "245"):
        assert (await use(customer, amount))["billing_status"] == "completed"
    # 49 carried + 49; 40 carried + 10; 200 by itself.
    assert await charged(customer) == [98, 50, 200]
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == -49
    settled = [(one["total_minor"], one["settlement"]) for one in await customer.invoices()]
    assert settled == [
        (0, "zero"), (49, "carried"), (49, "payment"), (40, "carried"), (10, "payment"),
        (200, "payment"), (49, "carried"),
    ]  # fmt: skip
    await check_books(customer)


async def test_what_was_carried_stays_carried_when_the_card_declines(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.subscribe("free")
    await use(customer, "245")
    await customer.script("insufficient_funds", then="normal")
    declined = CHARGED | {"usage_amount": "245", "event_id": "declined"}
    failed = await customer.refused("CARD_DECLINED", "POST", "/usage/record", declined)
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == -49
    body = {"billing_id": failed["billing_id"]}
    paid = await customer.ask("POST", "/billing/process", body, key="anew")
    assert paid["billing_status"] == "completed"
    assert await charged(customer) == [98]
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 0


@pytest.mark.parametrize("at", ["now", "period_end"])
async def test_what_was_carried_is_charged_when_the_subscription_ends(
    actors: Actors, at: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    await use(customer, "200")
    beyond = {"feature_type": "ai_responses", "usage_amount": "510"}
    await customer.ask("POST", "/usage/record", beyond, status=201)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": at})
    await customer.advance(days=40)
    assert await charged(customer) == [1900, 60]
    final = (await customer.invoices())[-1]
    assert (final["status"], final["total_minor"], final["amount_paid_minor"]) == ("paid", 20, 60)
    await check_books(customer)


async def test_what_no_card_can_be_charged_stays_in_the_balance(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    await use(customer, "200")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "period_end"})
    await customer.advance(days=40)
    assert await charged(customer) == [1900]
    assert [one["settlement"] for one in await customer.invoices()] == ["payment", "carried"]
    await check_books(customer)


async def why_refused(customer: Customer, body: Json) -> tuple[str, str]:
    """The reason why no card pays a use, as a field and in words."""
    told = await customer.refused("PAYMENT_CHARGE_NOT_OFFERED", "POST", "/usage/record", body)
    return told["reason"], told["detail"]


async def test_without_a_card_or_a_price_no_card_is_offered(actors: Actors) -> None:
    customer = await actors.customer()
    body = CHARGED | {"event_id": "no card"}
    assert await why_refused(customer, body) == (
        "no_card", "a card cannot be charged for this use: the account has no default card",
    )  # fmt: skip
    await customer.save_card()
    unpriced = body | {"product_id": "mcp-call"}
    feature = {"feature_type": "ai_responses", "operation": "summarize"}
    for names in (unpriced, body | {"product_id": None} | feature):
        reason, detail = await why_refused(customer, names)
        assert (reason, "no price in money" in detail) == ("no_price", True)
    assert (await why_refused(customer, body | {"usage_amount": "1"}))[0] == "too_small"
    rows = await customer.ask("POST", "/usage/batch", {"events": [unpriced]})
    assert rows["results"][0]["code"] == "PAYMENT_CHARGE_NOT_OFFERED"
    assert await customer.rows("SELECT 1 FROM billing_records WHERE account_id = %(me)s") == []


async def test_a_card_is_charged_for_who_may_and_never_without_a_mark(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    told = await customer.refused("IDEMPOTENCY_KEY_REQUIRED", "POST", "/usage/record", CHARGED)
    assert told["detail"] == "send an event_id or an Idempotency-Key"
    rows = await customer.ask("POST", "/usage/batch", {"events": [CHARGED]})
    assert rows["results"][0]["code"] == "IDEMPOTENCY_KEY_REQUIRED"
    marked = CHARGED | {"event_id": "mine"}
    for path, body in (("record", marked), ("batch", {"events": [marked]})):
        answer = await actors.client.post(
            f"{API}/usage/{path}", json=body, headers=actors.headers(customer.id, "member")
        )
        told = answer.json()
        assert (told["results"][0] if path == "batch" else told)["code"] == "FORBIDDEN"
    assert await charged(customer) == []


async def test_rows_of_a_batch_are_charged_one_by_one_behind_its_answer(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    poor = await actors.customer()
    await customer.save_card()
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    paid = CHARGED | {"event_id": "d"}
    rows = [
        paid | {"event_id": "a"}, {"feature_type": "ai_responses", "usage_amount": "1"},
        paid | {"event_id": "b"}, paid | {"event_id": "a"},
        paid | {"event_id": "c", "usage_amount": "10"},
        paid | {"product_id": "mcp-call"}, paid | {"account_id": poor.id},
    ]  # fmt: skip
    answer = await actors.client.post(
        f"{API}/usage/batch",
        json={"events": [{"account_id": customer.id} | row for row in rows]},
        headers=actors.headers("*", "service"),
    )
    assert [row.get("code", row["status"]) for row in answer.json()["results"]] == [
        "recorded", "recorded", "recorded", "duplicate", "recorded",
        "PAYMENT_CHARGE_NOT_OFFERED", "PAYMENT_CHARGE_NOT_OFFERED",
    ]  # fmt: skip

    async def statuses() -> list[str]:
        rows = await customer.rows(
            "SELECT billing_status FROM billing_records"
            " WHERE account_id = %(me)s AND billing_method = 'payment_charge'"
        )
        return [row["billing_status"] for row in rows]

    await wait_for(statuses, "all are charged", lambda seen: seen == ["completed"] * 3)
    assert sorted(await charged(customer)) == [200, 200, 1900]
    assert await poor.rows("SELECT 1 FROM billing_records WHERE account_id = %(me)s") == []
    await customer.advance(days=31)
    assert (await charged(customer))[-1] == 1902, "what is too small waits for the next invoice"


async def test_one_charge_may_go_beyond_the_unpaid_limit_and_the_next_waits_for_its_money(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.script(*["processing"] * 4, then="normal")

    async def batch(name: str) -> list[str]:
        rows = [
            CHARGED | {"usage_amount": "450000", "event_id": f"{name}-{row}"} for row in range(2)
        ]
        done = await customer.ask("POST", "/usage/batch", {"events": rows})
        return [row.get("code", row["status"]) for row in done["results"]]

    one, two = await asyncio.gather(batch("one"), batch("two"))
    assert sorted(one + two) == ["UNPAID_LIMIT"] * 3 + ["recorded"]
    refused = await customer.refused(
        "UNPAID_LIMIT", "POST", "/usage/record", CHARGED | {"event_id": "next"}
    )
    assert (refused["unpaid"], refused["limit"]) == ("900.00", "100.00")

    async def intents() -> list[str]:
        rows = await customer.rows(
            "SELECT stripe_payment_intent_id AS intent FROM payments"
            " WHERE account_id = %(me)s AND status = 'processing'"
        )
        return [row["intent"] for row in rows]

    (intent,) = await wait_for(intents, "the bank decides", lambda seen: len(seen) == 1)
    await actors.sandbox.settle(intent, "succeed")
    body = CHARGED | {"event_id": "next"}
    await wait_for(
        lambda: customer.call("POST", "/usage/record", body), "the next is charged",
        lambda seen: seen.status_code == 201,
    )  # fmt: skip


async def test_a_provider_that_is_away_costs_nothing(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await use(customer)
    await customer.script("authentication_required", then="last")
    waiting = await use(customer)
    assert waiting["billing_status"] in ("pending", "failed")
    await customer.advance(days=1)
    record = await customer.ask("GET", f"/billing/records/{waiting['billing_id']}")
    assert record["billing_status"] == "failed"
    assert await charged(customer) == [200]


async def waiting_use(customer: Customer, word: str) -> tuple[str, str]:
    """A use whose charge waits for what `word` says: its record's path, and the intent."""
    await customer.script(word, then="normal")
    waiting = await use(customer)
    assert waiting["billing_status"] == "pending"
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments WHERE account_id = %(me)s"
    )
    return f"/billing/records/{waiting['billing_id']}", payment["intent"]


@pytest.mark.parametrize(
    ("word", "answer", "status"),
    [
        ("authentication_required", "succeed", "completed"),
        ("authentication_required", "refuse", "failed"),
        ("processing", "succeed", "completed"),
        ("processing", "insufficient_funds", "failed"),
    ],
)
async def test_a_charge_that_waits_ends_as_payer_and_bank_say(
    actors: Actors, word: str, answer: str, status: str
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    path, intent = await waiting_use(customer, word)
    if word == "processing":
        await actors.sandbox.settle(intent, answer)
    else:
        await actors.sandbox.authenticate(intent, passed=answer == "succeed")
    await wait_for(
        lambda: customer.ask("GET", path), f"the use is {status}",
        lambda seen: seen["billing_status"] == status,
    )  # fmt: skip
    is_paid = status == "completed"
    assert await charged(customer) == [200] * is_paid
    assert [one["status"] for one in await customer.invoices()] == ["paid" if is_paid else "void"]


async def test_money_nobody_told_us_of_is_found_before_the_charge_is_given_up(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    path, intent = await waiting_use(customer, "authentication_required")
    async with customer.unheard():
        await actors.sandbox.authenticate(intent)
        await customer.advance(days=1)
    assert (await customer.ask("GET", path))["billing_status"] == "completed"
    assert await charged(customer) == [200]


@pytest.mark.parametrize("amount", ["10", "1000"])
async def test_a_use_that_was_paid_without_a_card_can_be_taken_back_and_corrected(
    actors: Actors, amount: str
) -> None:
    """10 units are carried, 1,000 are paid by the money balance."""
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    if amount == "1000":
        await adjust(customer, 1000)
    first, second = await use(customer, amount), await use(customer, amount)
    kept = (await customer.ask("GET", "/billing/balance"))["balance_cents"]
    path = f"/billing/records/{first['billing_id']}/void"
    voided = await actors.operate("POST", path, {"reason": "counted twice"}, status=200)
    cents = int(amount) // 5
    assert voided["balance_cents"] == cents
    newest = (await customer.ask("GET", "/billing/invoices?limit=1"))["data"][0]
    body = {"amount_cents": 1, "reason": "sorry", "to": "balance"}
    noted = await commanded(customer, newest, "credit-note", body)
    assert noted["credit_notes_total"] == 1
    assert second["billing_status"] == "completed"
    shown = await customer.ask("GET", "/billing/balance")
    assert shown["balance_cents"] == kept + cents + 1
    await check_books(customer)
