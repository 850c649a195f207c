"""Add-ons: more of a meter on top of the plan, charged when bought, gone when no longer wanted."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, wait_for
from tests.integration.arrears.chosen_add_ons import SUBSCRIPTION, choose, included
from tests.integration.arrears.overage_uses import RENEWAL, START, lines, records, use
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences


async def test_an_add_on_gives_more_from_now_on_and_is_charged_at_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    plans = (await customer.ask("GET", "/billing/plans"))["data"]
    (basic,) = [plan for plan in plans if plan["key"] == "basic"]
    assert basic["add_ons"][0]["key"] == "ai-500"
    await use(customer, "510")

    bought = await choose(customer, ai_500=2)
    assert bought["add_ons"] == [
        {
            "add_on": "ai-500", "name": "500 more AI responses", "meter": "ai_responses",
            "units": "500.00", "amount_cents": 700, "quantity": 2, "quantity_next_period": 2,
        }
    ]  # fmt: skip
    assert await included(customer) == ("1500", "1500.00")
    assert await charged(customer) == [1900, 1400]
    told = await customer.published()
    assert await choose(customer, ai_500=2) == bought
    assert await customer.published() == told
    assert told.count("evt.billing.subscription.add_ons_chosen") == 1
    await use(customer, "1000")
    future = await customer.ask("GET", "/billing/timeline")
    assert next(one for one in future["future"] if one["name"] == "renew")["amount_cents"] == 3320

    await customer.advance(to=RENEWAL)
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 10, 20)]
    assert [line[2:] for line in await lines(customer, "add_on")] == [(2, 1400), (2, 1400)]
    assert await charged(customer) == [1900, 1400, 1900 + 1400 + 20]


async def test_less_of_an_add_on_counts_from_the_next_period(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await choose(customer, ai_500=3, storage_50=1)
    fewer = await choose(customer, ai_500=1)
    assert [(one["quantity"], one["quantity_next_period"]) for one in fewer["add_ons"]] == [
        (3, 1), (1, 0),
    ]  # fmt: skip
    assert (await included(customer))[0] == "2000"
    again = await choose(customer, ai_500=3)
    assert again["add_ons"][0]["quantity_next_period"] == 3
    await choose(customer, ai_500=1)
    assert await charged(customer) == [1900, 3000], "what was paid for is not paid for again"
    await customer.advance(to=RENEWAL)
    assert await included(customer) == ("1000", "1000.00")
    assert await charged(customer) == [1900, 3000, 2600]
    assert [one["add_on"] for one in (await customer.subscription())["add_ons"]] == ["ai-500"]
    await choose(customer)
    await customer.advance(days=28)
    assert await charged(customer) == [1900, 3000, 2600, 1900]
    assert (await customer.subscription())["add_ons"] == []


async def test_an_add_on_in_the_middle_costs_and_gives_what_is_left(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.advance(to="2027-01-11T10:00:00Z")
    wanted = {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}
    seen = await customer.ask("POST", f"{SUBSCRIPTION}/preview", wanted, status=200)
    # 21 of the 31 days to 1 February: of 1400 cents, and of 1000 units 677.42.
    assert (seen["due_now_cents"], seen["invoice"]["lines"][0]["total"]) == (948, 948)
    await customer.ask(
        "PUT", SUBSCRIPTION, wanted | {"preview_token": seen["preview_token"]}, status=200
    )
    assert await charged(customer) == [1900, 948]
    assert await included(customer) == ("1177", "1177.00")
    await use(customer, "900")

    fewer: dict[str, Any] = {"add_ons": [], "at": "now"}
    # 400 of the 677 are used, and 21 of 31 days of 1000 would go.
    await customer.refused("UNITS_SPENT", "PUT", SUBSCRIPTION, fewer)
    await customer.advance(to="2027-01-21T10:00:00Z")
    fewer = {"add_ons": [{"add_on": "ai-500", "quantity": 1}], "at": "now"}
    seen = await customer.ask("PUT", f"{SUBSCRIPTION}?dry_run=true", fewer, status=200)
    left = await customer.ask("PUT", SUBSCRIPTION, fewer, status=200)

    # 11 of the 21 days of 948 are 497, of which one add-on takes 248.
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 249)
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 249
    assert left["add_ons"][0]["quantity"] == 1
    assert await included(customer) == ("1000", "1000.00"), "677.42 less 177.42 for 11 days"
    assert (await use(customer, "100"))["total_cost"] == "0"
    assert (await use(customer, "1"))["total_cost"] == "0.02"

    later = {"add_ons": [{"add_on": "ai-500", "quantity": 3}], "at": "period_end"}
    planned = await customer.ask("PUT", SUBSCRIPTION, later, status=200)
    assert planned["scheduled_changes"][0]["wanted"] == {"ai-500": 3}
    coming = await customer.ask("GET", f"{SUBSCRIPTION}/upcoming", status=200)
    assert coming["invoice"]["total_cents"] == 1900 + 2100 + 2
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 948, 1900 + 2100 + 2 - 249]
    assert await included(customer) == ("2000", "2000.00")
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 1, 2)]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_whole_unit_does_not_stay_for_the_price_of_an_hour(actors: Actors) -> None:
    """Bought just above half of the cycle, for one unit; taken off just below it."""
    key = f"few-{uuid4().hex[:8]}"
    add_on = {"key": f"one-{key}", "name": "One more", "meter": "ai_responses", "units": "1",
              "prices": {"USD": 10000}}  # fmt: skip
    body = {"name": "Few", "family": key, "prices": {"month": {"USD": 1000}}, "add_ons": [add_on],
            "limits": [{"meter": "ai_responses", "included": "1", "then": "block"}]}  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    customer = await actors.customer_on_clock("2027-01-01T00:00:00Z")
    await customer.subscribed(key)
    await customer.advance(to="2027-01-16T11:00:00Z")
    one: dict[str, Any] = {"add_on": add_on["key"], "quantity": 1}
    await customer.ask("PUT", SUBSCRIPTION, {"add_ons": [one]}, status=200)
    await use(customer, "2")
    await customer.advance(to="2027-01-16T13:00:00Z")
    gone: dict[str, Any] = {"add_ons": [], "at": "now"}
    await customer.refused("UNITS_SPENT", "PUT", SUBSCRIPTION, gone)

    # One that gave no unit for what was left takes none with it.
    other = await actors.customer_on_clock("2027-01-01T00:00:00Z")
    await other.subscribed(key)
    await other.advance(to="2027-01-16T13:00:00Z")
    await other.ask("PUT", SUBSCRIPTION, {"add_ons": [one]}, status=200)
    await use(other, "1")
    await other.ask("PUT", SUBSCRIPTION, gone, status=200)


async def test_units_bought_one_by_one_are_as_many_as_those_bought_at_once(actors: Actors) -> None:
    """Four singles just above half of a month of 31 days: 18, 17, 16.5 and 16 days are 2.177."""
    key = f"singles-{uuid4().hex[:8]}"
    add_on = {"key": f"one-{key}", "name": "One more", "meter": "ai_responses", "units": "1",
              "prices": {"USD": 3100}}  # fmt: skip
    body = {"name": "Singles", "family": key, "prices": {"month": {"USD": 1000}},
            "add_ons": [add_on], "seats": {"least": 1, "most": 10},
            "limits": [{"meter": "ai_responses", "included": "1", "then": "block"}]}  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    customer = await actors.customer_on_clock("2027-01-01T00:00:00Z")
    await customer.subscribed(key)
    for had, day in enumerate(("14T00", "15T00", "15T12", "16T00"), start=1):
        await customer.advance(to=f"2027-01-{day}:00:00Z")
        more: dict[str, Any] = {"add_ons": [{"add_on": add_on["key"], "quantity": had}]}
        await customer.ask("PUT", SUBSCRIPTION, more, status=200)
    assert (await included(customer))[0] == "3"
    gone: dict[str, Any] = {"add_ons": [], "at": "now"}
    await customer.ask("PUT", SUBSCRIPTION, gone, status=200)
    # 3.5 of 31 days were served: none is left of that.
    assert (await included(customer))[0] == "1"

    seated = await actors.customer_on_clock("2027-01-01T00:00:00Z")
    await seated.subscribed(key)
    for seats, day in enumerate(("14T00", "15T00", "15T12", "16T00"), start=2):
        await seated.advance(to=f"2027-01-{day}:00:00Z")
        await seated.ask("PUT", SUBSCRIPTION, {"quantity": seats}, status=200)
    assert (await included(seated))[0] == "3"
    assert await differences(actors.sql, [customer.uuid, seated.uuid]) == []


async def test_an_add_on_that_goes_now_leaves_no_numbered_invoice(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await choose(customer, ai_500=1)
    await customer.advance(days=1)
    gone = {"add_ons": [], "at": "now"}
    left = await customer.ask("PUT", SUBSCRIPTION, gone, status=200)
    assert left["add_ons"] == []
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 677
    (note,) = (await customer.ask("GET", "/billing/credit-notes"))["data"]
    assert note["amount"] == 677
    invoices = [(one["status"], one["number"]) for one in await customer.invoices()]
    assert [number for status, number in invoices if status == "void"] == [None]
    assert [status for status, _ in invoices] == ["paid", "paid", "void"]
    assert (await customer.published()).count("evt.billing.invoice.paid") == 2


async def test_an_add_on_whose_charge_fails_is_not_given(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    before = await customer.subscribed("basic")
    await customer.script("insufficient_funds", then="normal")
    more = {"add_ons": [{"add_on": "ai-500", "quantity": 1}]}

    refused = await customer.refused("CARD_DECLINED", "PUT", SUBSCRIPTION, more, key="a")

    assert refused["decline_code"] == "insufficient_funds"
    after = await customer.subscription()
    assert after == before | {"updated_at": after["updated_at"]}, "all is as before"
    assert (await included(customer))[1] == "500.00"
    assert [one["status"] for one in await customer.invoices()] == ["paid", "void"]
    assert await charged(customer) == [1900]
    await customer.advance(days=8)
    assert (await customer.subscription())["status"] == "active", "nothing is overdue"
    assert (await choose(customer, ai_500=1))["add_ons"][0]["quantity"] == 1
    # 23 of the 31 days.
    assert await charged(customer) == [1900, 519]


async def test_an_add_on_waits_for_its_payer_and_is_given_up_in_time(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.script("authentication_required", then="normal")
    waits = await choose(customer, ai_500=1)
    assert waits["next_action"]["type"] == "confirm_card"
    change = waits["pending_change"]
    assert (change["kind"], change["wanted"]) == ("add_ons", {"ai-500": 1})
    assert waits["add_ons"] == []
    assert (await included(customer))[1] == "500.00", "nothing can be used before it is paid"
    seen = await customer.call("GET", SUBSCRIPTION, role="member")
    assert seen.json()["next_action"] == {"type": "confirm_card"}, "only a payer sees the secret"
    other = {"add_ons": [{"add_on": "ai-500", "quantity": 3}]}
    await customer.refused("CHANGE_PENDING", "PUT", SUBSCRIPTION, other)

    await customer.advance(days=1)

    expired = await customer.subscription()
    assert (expired["pending_change"], expired["next_action"]) == (None, {"type": "none"})
    assert (await customer.confirm(waits)).status == 400, "called back at the provider"
    await customer.script("authentication_required", then="normal")
    waits = await choose(customer, ai_500=3)
    await customer.pay(waits)
    given = await wait_for(customer.subscription, "it is given", lambda seen: seen["add_ons"])
    assert given["add_ons"][0]["quantity"] == 3
    # 30 of the 31 days.
    assert await included(customer) == ("1952", "1952.00")
    assert await charged(customer) == [1900, 2032]


async def test_an_end_now_gives_up_a_change_that_waits(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.script("authentication_required", then="normal")
    waits = await choose(customer, ai_500=1)
    await customer.ask("POST", f"{SUBSCRIPTION}/cancel", {"at": "now"}, status=200)
    assert (await customer.confirm(waits)).status == 400
    assert await charged(customer) == [1900]


async def test_more_of_an_add_on_in_a_trial_begins_and_is_billed_with_the_first_period(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await choose(customer, ai_500=3)
    chosen = await choose(customer, ai_500=1)
    assert chosen["status"] == "trialing"
    (shown,) = chosen["add_ons"]
    assert (shown["quantity"], shown["quantity_next_period"]) == (0, 1)
    assert await included(customer) == ("500.00", "500.00"), "nothing of it is given in the trial"
    await use(customer, "510")
    await customer.save_card()

    await customer.advance(days=14)

    assert await charged(customer) == [1900 + 700 + 20]
    (shown,) = (await customer.subscription())["add_ons"]
    assert (shown["quantity"], shown["quantity_next_period"]) == (1, 1)
    assert await included(customer) == ("1000", "1000.00")


@pytest.mark.parametrize(
    ("terms", "add_on", "code"),
    [
        ({}, "no-such-thing", "ADD_ON_NOT_FOUND"),
        ({"interval": "yearly"}, "ai-500", "ADD_ON_NOT_OFFERED"),
    ],
)
async def test_what_is_not_offered_is_refused(
    actors: Actors, terms: dict[str, Any], add_on: str, code: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", **terms)
    await customer.refused(code, "PUT", SUBSCRIPTION, {"add_ons": [{"add_on": add_on}]})
    twice = {"add_ons": [{"add_on": "ai-500"}, {"add_on": "ai-500"}]}
    await customer.refused("VALIDATION_FAILED", "PUT", SUBSCRIPTION, twice)
    assert (
        await customer.rows(
            "SELECT 1 FROM subscription_items WHERE account_id = %(me)s AND kind = 'add_on'"
        )
        == []
    )


async def test_an_add_on_covers_what_was_used_beyond_the_plan_already(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    assert (await use(customer, "1100"))["total_cost"] == "12.00"
    await choose(customer, ai_500=1)
    assert await records(customer) == [("usage", "pending", "2")]
    assert (await use(customer, "10"))["total_cost"] == "0.20"
    await choose(customer, ai_500=2)
    assert (await use(customer, "390"))["total_cost"] == "0"
    assert (await use(customer, "1"))["total_cost"] == "0.02"
    await customer.advance(to=RENEWAL)
    assert [line[1:] for line in await lines(customer)] == [("ai_responses", 1, 2)]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_an_add_on_in_a_trial_covers_nothing_that_was_used_before(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("basic", trial=True)
    await use(customer, "1100")
    await choose(customer, ai_500=1)
    assert await records(customer) == [("usage", "pending", "12")]
    await customer.advance(days=15)
    assert await records(customer) == [("usage", "completed", "12")]


async def sold(actors: Actors, key: str, add_on: str, units: str) -> None:
    """A plan of a family named like the add-on, which it sells with so many units."""
    add_ons = [
        {"key": add_on, "name": "More", "meter": "ai_responses", "units": units,
         "prices": {"USD": 3000}}
    ]  # fmt: skip
    limits = [{"meter": "ai_responses", "included": "0", "then": "block"}]
    body = {"name": key, "family": add_on, "prices": {"month": {"USD": 1000}}}
    await actors.operate(
        "PUT", f"/admin/plans/{key}", body | {"add_ons": add_ons, "limits": limits}
    )


async def test_an_add_on_on_other_terms_counts_with_what_it_gave_before(actors: Actors) -> None:
    key = uuid4().hex[:8]
    await sold(actors, f"a-{key}", f"x-{key}", "300")
    await sold(actors, f"b-{key}", f"x-{key}", "600")
    one = [{"add_on": f"x-{key}", "quantity": 1}]
    customer = await actors.customer_on_clock("2027-04-01T00:00:00Z")
    await customer.subscribed(f"a-{key}")
    await customer.advance(to="2027-04-16T00:00:00Z")
    await customer.ask("PUT", SUBSCRIPTION, {"add_ons": one}, status=200)
    assert await included(customer) == ("150", "150.00")
    await use(customer, "130")
    await customer.advance(to="2027-04-19T00:00:00Z")
    body = {"plan": f"b-{key}", "add_ons": one, "at": "now"}
    await customer.ask("PUT", SUBSCRIPTION, body, status=200)
    assert await included(customer) == ("270", "270.00"), "12 days more of 600, 12 less of 300"


async def test_an_add_on_of_many_digits_gives_its_part(actors: Actors) -> None:
    key = uuid4().hex[:8]
    await sold(actors, f"a-{key}", f"x-{key}", "12345678901.123456789012")
    customer = await actors.customer_on_clock("2027-04-01T00:00:00Z")
    await customer.subscribed(f"a-{key}")
    await customer.advance(to="2027-04-16T00:00:00Z")
    await choose(customer, **{f"x_{key}": 1})
    assert (await included(customer))[0] == "6172839450.561728394506"
