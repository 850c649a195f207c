"""The billing threshold: an early invoice once per crossing, and the close bills only the rest."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from sqlalchemy import text

from billing.core.money import EXPONENTS, exponent
from tests.integration.actors import Actors, Customer, instant, wait_for
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.overage_uses import RENEWAL, START, records, use
from tests.integration.arrears.test_close_races import send, until
from tests.integration.arrears.test_large_close import pour
from tests.integration.faults.rows import open_operator
from tests.integration.money_seen import charged, newest_invoice
from tests.integration.operator_acts import check_books

# A use crossed a threshold of 10.00 while the matter was down.
MISSED: Final = """
    WITH s AS (
        UPDATE subscriptions SET billing_threshold_minor = 1000 WHERE account_id = %(me)s
        RETURNING id)
    UPDATE usage_periods p SET threshold_at = start_at, threshold_number = 1
    FROM s WHERE p.subscription_id = s.id AND p.closed_at IS NULL
"""


async def threshold(customer: Customer, cents: int | None) -> Any:
    path = f"/admin/accounts/{customer.id}/billing-threshold"
    body = {"threshold_cents": cents, "reason": "a new customer"}
    return await customer.actors.operate("PUT", path, body)


async def tick(customer: Customer) -> None:
    """An hour passes: whatever is due is done."""
    now = instant((await customer.clock())["clock_at"])
    await customer.advance(to=(now + timedelta(hours=1)).isoformat())


async def billed(customer: Customer) -> list[tuple[float, int, str]]:
    """Units, cents and words of each usage line, oldest first."""
    rows = await customer.rows(
        "SELECT l.quantity, l.amount_minor, l.description FROM invoice_lines l"
        " JOIN invoices i ON i.id = l.invoice_id"
        " WHERE l.account_id = %(me)s AND l.kind = 'usage' ORDER BY i.created_at, i.id, l.position"
    )
    return [
        (float(r["quantity"]), r["amount_minor"], r["description"].split(", ")[1]) for r in rows
    ]


async def test_use_is_invoiced_early_once_per_crossing_and_the_close_bills_the_rest(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    assert (await threshold(customer, 500))["threshold_cents"] == 500
    assert (await customer.subscription())["billing_threshold_cents"] == 500
    await use(customer, "500")
    await use(customer, "249.3")
    await tick(customer)
    assert await charged(customer) == [1900], "4.986 is below 5"
    await use(customer, "1.1")
    await use(customer, "0.3")
    coming = (await customer.ask("GET", "/billing/timeline"))["future"][0]
    assert (coming["name"], coming["amount_cents"]) == ("bill_early", 501)
    await tick(customer)
    assert await charged(customer) == [1900, 501]
    await tick(customer)
    assert await charged(customer) == [1900, 501]
    await use(customer, "300")
    await tick(customer)
    await use(customer, "10.4")
    forecast = await customer.ask("GET", "/usage/forecast")
    assert Decimal(forecast["cost"]["overage"]["used"]) == Decimal("0.208"), "the next invoice's"
    await customer.advance(to=RENEWAL)

    span = "so far"
    assert await billed(customer) == [
        (250.7, 501, span), (300, 600, span), (10.4, 21, "1 Jan 2027 to 1 Feb 2027"),
    ]  # fmt: skip
    assert await charged(customer) == [1900, 501, 600, 1921]
    assert round(561.1 * 2) == 501 + 600 + 21, "all of it together is rounded once"
    kept = await records(customer)
    assert {status for _, status, _ in kept} == {"completed"}
    assert sum(Decimal(amount) for _, _, amount in kept) == Decimal("11.22")
    events = await customer.rows(
        "SELECT key FROM steps WHERE account_id = %(me)s AND key LIKE '%%threshold%%' ORDER BY key"
    )
    assert [one["key"].rpartition("-")[2] for one in events] == ["1", "2"]


async def test_a_close_that_is_rounded_with_an_early_line_names_what_that_billed(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await threshold(customer, 500)
    await use(customer, "500")
    await use(customer, "250.7")
    await tick(customer)
    await use(customer, "10.7")
    await customer.advance(to=RENEWAL)

    # 21.40 for 10.7 by themselves, but 522.80 for all of them: 523 less 501.
    assert [cents for _, cents, _ in await billed(customer)] == [501, 22]
    items = (await newest_invoice(customer))["line_items"]
    [words] = [one["explained"] for one in items if one["kind"] == "usage"]
    assert words == "261.40 x 0.02, less 5.01 USD billed before = 0.22 USD"
    await check_books(customer)


async def test_a_threshold_that_is_reached_when_it_is_set_bills_at_once(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.subscribed("basic")
    await use(customer, "1000")
    assert await charged(customer) == [1900]
    await threshold(customer, 1000)
    await wait_for(
        lambda: charged(customer), "the early invoice is paid", lambda seen: seen == [1900, 1000]
    )
    await threshold(customer, None)
    await use(customer, "1000")
    (open_,) = await customer.rows(
        "SELECT count(*) AS flagged FROM usage_periods"
        " WHERE account_id = %(me)s AND threshold_at IS NOT NULL"
    )
    assert open_["flagged"] == 0


async def test_crossing_in_real_time_needs_nobody_to_ask(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.subscribed("basic")
    await threshold(customer, 1000)
    await use(customer, "1200")
    await wait_for(
        lambda: charged(customer), "the early invoice is paid", lambda seen: seen == [1900, 1400]
    )


async def test_a_matter_that_missed_the_crossing_is_told_again(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "1000")
    await customer.rows(MISSED)
    await wait_for(
        lambda: charged(customer), "what was missed is billed", lambda seen: seen == [1900, 1000]
    )


async def test_an_early_invoice_that_fails_is_recovered_and_a_trial_has_none(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic", trial=True)
    await threshold(customer, 100)
    await use(customer, "600")
    await tick(customer)
    assert await charged(customer) == []
    await customer.advance(days=14)
    assert await charged(customer) == [1900 + 200]
    await customer.script("insufficient_funds", then="normal")
    await use(customer, "600")
    await tick(customer)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(days=3)
    assert await charged(customer) == [2100, 200]
    assert (await customer.subscription())["status"] == "active"


@pytest.mark.parametrize("close", ["renewal", "end"])
async def test_every_use_around_thresholds_and_a_close_is_billed_once(
    actors: Actors, close: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await threshold(customer, 80)
    await use(customer, "500")
    stop, told = asyncio.Event(), list[str]()
    senders = [asyncio.create_task(send(customer, stop, told)) for _ in range(6)]
    try:
        await until(told, 50)
        await tick(customer)
        await until(told, len(told) + 20)
        if close == "renewal":
            await customer.advance(to=RENEWAL)
        else:
            await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
        await until(told, len(told) + 12)
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*senders)
    (seen,) = await customer.rows(
        "SELECT sum(charged_units) FILTER (WHERE currency = 'USD') AS beyond,"
        " count(*) FILTER (WHERE billing_status = 'pending') AS open"
        " FROM billing_records WHERE account_id = %(me)s AND kind = 'usage'"
    )
    lines = await billed(customer)
    assert seen["open"] == 0
    assert sum(line[0] for line in lines) == seen["beyond"]
    assert sum(line[1] for line in lines) == 2 * seen["beyond"]
    assert len(lines) > 1, "some early, some at the close"


async def test_what_one_invoice_still_completes_is_no_part_of_the_next(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500")
    await pour(customer)
    close = text(
        "SELECT usage_bill_line(:id, CAST(ROW('ai_responses', :start, :end, 'UTC', 'USD', 0,"
        " :invoice) AS usage_line), :start)"
    )
    async with open_operator(actors.stack) as database, database.operator() as connection:
        known = {"id": customer.uuid, "start": instant(START), "end": instant(RENEWAL)}
        for invoice in ("inv_early", "inv_close"):
            await connection.execute(close, known | {"invoice": invoice})
        told = await connection.execute(
            text(
                "SELECT detail ->> 'invoice_id', count(*) FROM billing_events"
                " WHERE account_id = :id GROUP BY 1"
            ),
            {"id": customer.uuid},
        )
        listed = await connection.execute(
            text(
                "SELECT invoice, sum(cardinality(records)) FROM usage_settlements"
                " WHERE account_id = :id GROUP BY 1"
            ),
            {"id": customer.uuid},
        )
        assert [tuple(row) for row in told] == [("inv_early", 5_000)]
        assert [tuple(row) for row in listed] == [("inv_early", 1_000)]
        await connection.rollback()


async def test_the_database_knows_every_currencys_digits(actors: Actors) -> None:
    names = [*EXPONENTS, "USD", "EUR"]
    rows = await actors.sql(
        "SELECT c, money_exponent(c) AS digits FROM unnest(%(names)s::text[]) AS u(c)", names=names
    )
    assert {row["c"]: row["digits"] for row in rows} == {name: exponent(name) for name in names}


async def test_a_plan_brings_its_threshold_along(actors: Actors) -> None:
    customer = await actors.customer()
    assert (await customer.subscribe("pro"))["billing_threshold_cents"] == 50_000
    plans = (await customer.ask("GET", "/billing/plans"))["data"]
    assert {plan["key"]: plan["billing_threshold_cents"] for plan in plans}["pro"] == 50_000
    assert (await threshold(customer, None))["threshold_cents"] is None


async def test_more_that_is_included_covers_nothing_that_was_invoiced_early(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await threshold(customer, 1000)
    await use(customer, "1100")
    # It is told of the crossing beside the answer, which a busy machine may do after the hour.
    await tick(customer)
    early = [1900, 1200]
    await wait_for(lambda: charged(customer), "it is invoiced early", lambda seen: seen == early)
    await use(customer, "100")
    await choose(customer, ai_500=1)
    # Of 500 units, and 499 for the rest of the month, 600 are used: those within the plan, and the
    # 100 that no invoice has billed.
    assert await left(customer) == 399
    await use(customer, "399")
    assert await left(customer) == 0
    await use(customer, "100")
    await customer.advance(to=RENEWAL)
    assert [line[:2] for line in await billed(customer)] == [(600, 1200), (100, 200)]


async def test_units_of_a_void_cover_later_use_though_an_invoice_billed_what_was_beyond(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await threshold(customer, 1000)
    within = await use(customer, "500")
    await use(customer, "600")
    await tick(customer)
    early = [1900, 1200]
    await wait_for(lambda: charged(customer), "it is invoiced early", lambda seen: seen == early)
    path = f"/billing/records/{within['billing_id']}/void"
    await actors.operate("POST", path, {"reason": "a bug of ours"})
    assert await left(customer) == 500
    await use(customer, "400")
    await customer.advance(to=RENEWAL)
    assert [line[:2] for line in await billed(customer)] == [(600, 1200)]


async def test_what_an_add_on_covers_before_it_is_invoiced_reaches_no_threshold(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "1100")
    await choose(customer, ai_500=1)
    await customer.rows(MISSED)

    async def crossings() -> Any:
        return await customer.rows(
            "SELECT id FROM usage_periods WHERE account_id = %(me)s AND threshold_at IS NOT NULL"
        )

    await wait_for(crossings, "its matter has looked at it", lambda seen: not seen)
    known = await charged(customer)
    assert len(known) == 2, "of 600 beyond the plan 100 are left, which cost 2.00"
    await use(customer, "400")
    await tick(customer)
    early = [*known, 1000]
    await wait_for(lambda: charged(customer), "now they are 500", lambda seen: seen == early)
    await customer.advance(to=RENEWAL)
    assert [line[:2] for line in await billed(customer)] == [(500, 1000)]


async def left(customer: Customer) -> float:
    """Units of the allowance that are left, as both pages say."""
    current = await customer.ask("GET", "/usage/current")
    limits = (await customer.ask("GET", "/usage/limits"))["data"]
    (limit,) = (one for one in limits if one["meter"] == "ai_responses")
    assert limit["remaining"] == current["meters"]["ai_responses"]["remaining"]
    return float(limit["remaining"])


async def test_an_early_invoice_whose_first_call_failed_is_charged_behind_the_end(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await threshold(customer, 500)
    kept = await actors.sandbox.fault(
        "error_500_stored", path="/v1/payment_intents", metadata={"account": customer.id}
    )
    away = await actors.sandbox.fault(
        "error_500_unstored",
        method="GET",
        path="/v1/payment_intents",
        customer=await customer.stripe_customer(),
        times=None,
    )
    await use(customer, "750")
    await tick(customer)

    async def struck() -> bool:
        plans = await actors.sandbox.plans("faults")
        return all(one["hits"] for one in plans if one["id"] in (kept, away))

    await wait_for(struck, "the intent was asked for, and looked for", bool)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await actors.sandbox.clear("faults", away)
    await customer.advance(days=1)
    assert await charged(customer) == [1900, 500], "once, by the invoice's own matter"


async def test_a_threshold_and_a_contract_can_be_tried_out(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "700")
    path, body = f"/admin/accounts/{customer.id}", {"threshold_cents": 100, "reason": "a trial"}
    dry = "?dry_run=true"
    most = body | {"threshold_cents": 10**15 - 1}
    seen = await actors.operate("PUT", f"{path}/billing-threshold{dry}", most)
    assert seen["threshold_cents"] == 10**15 - 1, "as a plan may have it"
    seen = await actors.operate("PUT", f"{path}/billing-threshold{dry}", body)
    assert seen["threshold_cents"] == 100
    price = {"plan": "basic", "interval": "month", "currency": "USD", "amount_cents": 1500}
    seen = await actors.operate("PUT", f"{path}/contract{dry}", {"prices": [price]})
    assert seen["prices"][0]["amount_cents"] == 1500
    await tick(customer)
    assert await billed(customer) == [], "no early invoice"
    assert (await customer.subscription())["billing_threshold_cents"] is None
    await customer.refused("CONTRACT_NOT_FOUND", "GET", "/billing/contract")
