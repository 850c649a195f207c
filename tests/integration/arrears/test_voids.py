"""Use beyond the plan that is taken back: from the next line, or by the money balance after it."""

import asyncio
from datetime import date
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.deferred_uses import put_off, until
from tests.integration.arrears.overage_uses import RENEWAL, START, lines, records, use
from tests.integration.arrears.test_agreed_limits import agree
from tests.integration.arrears.test_thresholds import threshold, tick
from tests.integration.arrears.test_tiered_overage import FALLING, GRADUATED, PACKAGES, subscribed
from tests.integration.locked import held, other_session, waiting, waiting_behind
from tests.integration.money_seen import charged
from tests.integration.on_sale import Sell
from tests.integration.operator_acts import WHY, check_books, give, void
from tests.integration.recomputed_sums import differences
from tests.integration.usage.archived import archived


async def basic(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    return customer


async def test_what_is_taken_back_in_its_cycle_is_on_no_invoice(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "510")
    wrong = await use(customer, "100")
    done = await void(actors, wrong)
    assert (done["balance_cents"], done["credits_returned"]) == (0, "0")
    assert (await customer.ask("GET", "/usage/current"))["overages"]["total_overage_cost"] == "0.20"
    await customer.advance(to=RENEWAL)
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 10.0, 20)]
    assert await charged(customer) == [1900, 1920]


@pytest.mark.parametrize("terms", [None, GRADUATED])
async def test_the_only_use_beyond_the_plan_is_taken_back(
    actors: Actors, terms: Json | None
) -> None:
    customer = await basic(actors) if terms is None else await subscribed(actors, terms)
    await void(actors, await use(customer, "600"))
    await check_books(customer)
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 1900]
    await check_books(customer)


async def test_a_use_that_was_included_leaves_its_place_to_one_beyond_the_plan(
    actors: Actors,
) -> None:
    customer = await basic(actors)
    wrong = await use(customer, "400")
    await use(customer, "250")
    await use(customer, "300")
    await void(actors, wrong)
    assert await records(customer) == [("usage", "pending", "1")]
    await customer.advance(to=RENEWAL)
    assert await lines(customer) == [(date(2027, 2, 1), "ai_responses", 50.0, 100)]
    second = await basic(actors)
    wrong = await use(second, "500")
    await use(second, "100")
    await void(actors, wrong)
    assert await records(second) == []
    assert await second.rows(
        "SELECT status_before, status_after FROM billing_events WHERE account_id = %(me)s"
        " AND detail ->> 'reason' = 'included after all'"
    ) == [{"status_before": "pending", "status_after": "completed"}]  # fmt: skip
    assert (await second.ask("GET", "/usage/current"))["overages"]["total_overage_cost"] == "0"
    await second.advance(to=RENEWAL)
    assert await lines(second) == []
    assert await charged(second) == [1900, 1900]


async def test_an_allowance_that_has_shrunk_is_free_only_below_what_it_includes_now(
    actors: Actors,
) -> None:
    customer = await basic(actors)
    price = {"USD": "0.02"}
    await agree(customer, "1000", prices=price)
    wrong = [await use(customer, "300"), await use(customer, "550")]
    await use(customer, "50")
    await agree(customer, "100", prices=price)
    await use(customer, "200")
    await void(actors, wrong[0])
    assert await records(customer) == [("usage", "pending", "4")]
    assert (await use(customer, "10"))["total_cost"] == "0.20"
    await void(actors, wrong[1])
    assert await owed(customer) == 420 - 100
    await check_books(customer)


async def test_what_was_owed_before_use_became_free_is_covered_by_a_void(actors: Actors) -> None:
    customer = await basic(actors)
    wrong = await use(customer, "100")
    await use(customer, "450")
    assert await owed(customer) == 100
    await agree(customer, "500", then="notify", prices={})
    await use(customer, "200")
    await void(actors, wrong)
    assert await records(customer) == []


async def test_what_an_invoice_charged_lowers_the_next_one(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "500")
    wrong = await use(customer, "100")
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 2100]
    done = [await void(actors, wrong) for _ in range(2)]
    assert done[0] == done[1]
    assert (done[0]["balance_cents"], done[0]["currency"]) == (200, "USD")
    entries = (await customer.ask("GET", "/billing/balance"))["data"]
    assert [entry["amount_cents"] for entry in entries] == [200]
    late = await use(customer, "5", "2027-01-20T10:00:00Z")
    assert late["billing_status"] == "pending"
    await customer.advance(days=28)
    assert await lines(customer) == [
        (date(2027, 2, 1), "ai_responses", 100.0, 200),
        (date(2027, 3, 1), "ai_responses", 5.0, 10),
    ]
    assert await charged(customer) == [1900, 2100, 1900 + 10 - 200]
    used = await customer.ask(
        "GET", "/usage/aggregations?start_date=2027-01-01&end_date=2027-01-31&grain=month"
    )
    assert [one["quantity"] for one in used["data"]] == ["505.00"]


@pytest.mark.parametrize(("uses", "units", "line"), [(20, "2", 8), (20, "3", 12), (7, "12.5", 18)])
async def test_uses_that_are_taken_back_one_by_one_return_their_line(
    actors: Actors, uses: int, units: str, line: int
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter", trial=False)
    calls = {"feature_type": "api_calls"}
    await use(customer, "10000", **calls)
    wrong = [await use(customer, units, **calls) for _ in range(uses)]
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [2900, 2900 + line]
    done = [await void(actors, one) for one in wrong]
    assert sum(one["balance_cents"] for one in done) == line
    await check_books(customer)


async def test_beside_a_month_that_is_away_the_other_uses_return_the_rest_of_their_line(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter", trial=False)
    calls = {"feature_type": "api_calls"}
    await use(customer, "10000", **calls)
    first, *others = [await use(customer, "2.5", **calls) for _ in range(6)]
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [2900, 2903]
    done = [await void(actors, first)]
    async with archived(actors.stack, first):
        done += [await void(actors, one) for one in others]
    assert [one["balance_cents"] for one in done] == [1, 1, 0, 1, 0, 0]
    notes = await customer.rows("SELECT lines FROM credit_notes WHERE account_id = %(me)s")
    assert [len(one["lines"]) for one in notes] == [1, 1, 1], "each names the line"
    await check_books(customer)


async def test_uses_that_are_taken_back_at_once_return_their_line(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter", trial=False)
    calls = {"feature_type": "api_calls"}
    await use(customer, "10000", **calls)
    wrong = [await use(customer, "2.5", **calls) for _ in range(4)]
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [2900, 2900 + 2], "each costs half a cent"
    async with held(customer):
        voids = [asyncio.create_task(void(actors, one)) for one in wrong]
        await waiting(customer, len(wrong))
    assert sum(one["balance_cents"] for one in await asyncio.gather(*voids)) == 2
    await check_books(customer)


async def test_what_the_plan_sold_gives_no_free_units_of_its_product_back(
    actors: Actors, sell: Sell
) -> None:
    customer = await basic(actors)
    prices = {"CREDIT": {"unit_price": "1", "free_units": "10"}}
    named = {"product_id": await sell("ai_responses", prices)}
    in_credits = named | {"billing_method": "credit_consumption"}
    await use(customer, "500")
    wrong = await use(customer, "50", **named)
    assert (wrong["total_cost"], wrong["currency"]) == ("1.00", "USD")
    assert (await use(customer, "10", **in_credits))["is_free_tier"]
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 2000]
    await void(actors, wrong)
    late = await use(customer, "10", START, **in_credits)
    assert (late["total_cost"], late["currency"]) == ("10.00", "CREDIT")
    differing = "SELECT * FROM usage_differing_counters(%(me)s, '-infinity')"
    assert await customer.rows(differing) == []
    await check_books(customer)


@pytest.mark.parametrize(
    ("terms", "before", "after"),
    [
        # 160 units cost 14.00, 110 of them 11.50.
        (GRADUATED, 1400, 1150),
        # 100 units came to 100.00, the most on the way; 50 and 60 more come to 55.00.
        (FALLING, 10000, 5500),
        # 16 packages, 11 packages.
        (PACKAGES, 4800, 3300),
    ],
)
async def test_after_a_void_the_rest_costs_what_so_many_units_cost(
    actors: Actors, terms: Json, before: int, after: int
) -> None:
    customer = await subscribed(actors, terms)
    first = await use(customer, "60")
    for units in ("50", "60"):
        await use(customer, units)
    again = await subscribed(actors, terms)
    uses = [await use(again, units) for units in ("10", "50", "50", "60")]
    assert await owed(customer) == await owed(again) == before
    await void(actors, uses[1])
    # The allowance that the first use had covers the end of the last one.
    await use(customer, "10")
    await void(actors, first)
    for one in (customer, again):
        assert await owed(one) == after
        await one.advance(to=RENEWAL)
        assert await charged(one) == [1900, 1900 + after]
        assert await differences(actors.sql, [one.uuid]) == []
        await check_books(one)


async def test_credits_of_a_void_pay_what_was_put_off(actors: Actors) -> None:
    customer = await actors.customer()
    await give(customer, "3")
    wrong = await customer.ask(
        "POST", "/usage/record", {"product_id": "gpt-4", "usage_amount": "1500"}, status=201
    )
    path = await put_off(customer, "1000")
    assert (await void(actors, wrong))["credits_returned"] == "3.00"
    await until(customer, path, "completed")
    assert await customer.credits() == 1
    await check_books(customer)


async def test_nothing_comes_back_of_an_invoice_that_was_forgiven(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "500")
    wrong = await use(customer, "100")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    (case,) = (await actors.operate("GET", f"/admin/dunning?account_id={customer.id}"))["data"]
    path = f"/admin/dunning/{case['dunning_case_id']}/forgive"
    await actors.operate("POST", path, {"reason": "goodwill"})
    await customer.until_subscription("active")
    done = await void(actors, wrong)
    assert (done["balance_cents"], done["billing_status"]) == (0, "refunded")
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 0
    used = await customer.ask("GET", "/usage/current")
    assert used["overages"]["total_overage_cost"] == "0"
    await check_books(customer)


async def test_of_an_open_invoice_less_is_owed(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "500")
    wrong = await use(customer, "100")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    done = [await void(actors, wrong) for _ in range(2)]
    assert done[0] == done[1]
    assert (done[0]["credited_cents"], done[0]["balance_cents"]) == (200, 0)
    [debt] = (await customer.ask("GET", "/billing/invoices?status=open"))["data"]
    assert (debt["amount_credited"], debt["amount_remaining"]) == (200, 1900)
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 0
    [note] = (await customer.ask("GET", "/billing/credit-notes"))["data"]
    assert note["reason"].endswith("was taken back: counted twice")
    await customer.script("succeed", then="last")
    await customer.advance(days=4)
    assert (await customer.subscription())["status"] == "active"
    assert (await customer.effects())[-1]["amount"] == 1900
    await check_books(customer)


async def test_uses_of_an_invoice_that_money_paid_in_part_are_taken_back_one_by_one(
    actors: Actors,
) -> None:
    customer = await basic(actors)
    body = {"amount_cents": 2000, "reason": "a gift"}
    await actors.operate(
        "POST", f"/admin/accounts/{customer.id}/balance/adjust", body, key=str(uuid4())
    )
    await use(customer, "500")
    wrong = [await use(customer, units) for units in ("100", "50", "25")]
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    done = [await void(actors, one) for one in wrong]
    # Of 22.50 the balance paid 20.00.
    assert [(one["credited_cents"], one["balance_cents"]) for one in done] == [
        (200, 0), (50, 50), (0, 50),
    ]  # fmt: skip
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 100
    await check_books(customer)


async def owed(customer: Customer) -> int:
    """The cost of the cycle's use so far, in cents."""
    current = await customer.ask("GET", "/usage/current")
    return int(float(current["overages"]["total_overage_cost"]) * 100)


async def test_a_use_whose_card_is_being_charged_is_not_taken_back_meanwhile(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    path = await put_off(customer, "1000")
    await customer.save_card()
    await customer.script("processing", then="normal")
    by_card = {"billing_id": path.rpartition("/")[2], "billing_method": "payment_charge"}
    begun = await customer.ask("POST", "/billing/process", by_card, status=202, key="w")
    assert begun["billing_status"] == "pending"

    async def refused() -> None:
        headers = actors.headers("*", "service")
        answer = await actors.client.post(f"/api/v1{path}/void", json=WHY, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "BILLING_RECORD_STATE")

    await refused()
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments WHERE account_id = %(me)s"
    )
    async with other_session(actors.stack) as connection:
        mine = (customer.uuid,)
        await connection.execute("SELECT FROM invoices WHERE account_id = %s FOR UPDATE", mine)
        await actors.sandbox.settle(payment["intent"], "succeed")
        await waiting_behind(actors, connection)
        # It waits for the end of the charge, which it did not know.
        late = asyncio.create_task(refused())
        await waiting(customer, 2)
    await late
    await until(customer, path, "completed")
    # A use priced in credits, which the card paid in money.
    done = await void(actors, by_card)
    assert (done["balance_cents"], done["currency"], done["credits_returned"]) == (200, "USD", "0")
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 200
    assert (await customer.ask("GET", path))["billing_status"] == "refunded"
    await check_books(customer)


async def test_what_an_early_invoice_billed_costs_nothing_more_once_it_is_taken_back(
    actors: Actors,
) -> None:
    customer = await basic(actors)
    budget = {"measure": "money", "window": "cycle", "limit": "5", "then": "block"}
    await customer.ask("PUT", "/usage/budgets", budget)
    await threshold(customer, 200)
    await use(customer, "500")
    wrong = await use(customer, "150")
    await use(customer, "50")
    await tick(customer)
    assert await charged(customer) == [1900, 400]
    await void(actors, wrong)
    current = await customer.ask("GET", "/usage/current")
    meter = current["meters"]["ai_responses"]
    assert (meter["quantity"], meter["overage"]) == ("550.00", "50.00")
    assert meter["overage_cost"] == "1.00"
    assert current["overages"]["total_overage_cost"] == "1.00"
    [left] = (await customer.ask("GET", "/usage/budgets"))["data"]
    assert (left["used"], left["remaining"]) == ("1.00", "4.00")
    ahead = await customer.ask("GET", "/usage/forecast")
    assert ahead["cost"]["overage"]["used"] == "0", "an early invoice has billed it"
    await use(customer, "200")
    await customer.advance(to=RENEWAL)
    # What 150 cost came back to the money balance; 200 that no line had billed reach the threshold.
    assert [units for _, _, units, _ in await lines(customer)] == [200.0, 200.0]
    assert await charged(customer) == [1900, 400, 400 - 300, 1900]
    await check_books(customer)


async def test_taking_back_what_an_early_invoice_billed_frees_nothing_of_the_allowance(
    actors: Actors,
) -> None:
    customer = await basic(actors)
    await threshold(customer, 200)
    await use(customer, "500")
    wrong = await use(customer, "150")
    await tick(customer)
    assert await charged(customer) == [1900, 300]
    await void(actors, wrong)
    ended = {"at": "now", "refund": "credit"}
    await customer.ask("POST", "/billing/subscription/cancel", ended, status=200)
    balance = await customer.ask("GET", "/billing/balance")
    assert balance["balance_cents"] == 300, "all of the plan's allowance, so all its time, is used"
    await check_books(customer)
