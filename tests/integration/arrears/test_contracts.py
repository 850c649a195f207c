"""An agreement with one account: its price, its least, its way to pay; on the engine's clock."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store
from billing.catalog.plans.schemas import Plan
from billing.core import ids
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.api_app import Api
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.contract_terms import PRICE, agree, coming
from tests.integration.arrears.overage_uses import RENEWAL, START, use
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences


async def test_an_agreed_price_its_minimum_and_a_commitment(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 6000, "currency": "USD", "periods": 2}
    made = await agree(customer, prices=[PRICE], commitment=committed, reference="MSA-1")
    assert (await agree(customer, prices=[PRICE], commitment=committed, reference="MSA-1")) == made
    await customer.subscribed("basic")
    sold = await customer.subscription()
    assert (sold["amount_cents"], sold["minimum_cents"]) == (1500, 2500)
    assert (sold["commitment"]["amount_cents"], sold["commitment"]["ends_at"][:10]) == (
        6000, "2027-03-01",
    )  # fmt: skip
    await use(customer, "510")  # 10 beyond the plan: 20 cents
    # 2500 less 1500 less 20.
    first = [("plan", 1500), ("usage", 20), ("minimum", 980)]
    assert await coming(customer) == first
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1500, 2500]
    # 1500 + 20 + 980 for the first month, 1500 for the second.
    running = (await customer.ask("GET", "/billing/contract"))["running_commitment"]
    assert (running["spent_cents"], running["remaining_cents"]) == (4000, 2000)
    assert (await customer.subscription())["commitment"] == running
    # Another price is agreed meanwhile: it counts from the next period on.
    limits = {"ai_responses": {"included": "10", "then": "overage", "prices": {"USD": "1"}}}
    new = PRICE | {"amount_cents": 1600, "minimum_cents": None}
    agreed = await agree(customer, prices=[new], limits=limits)
    assert (agreed["commitment"], agreed["running_commitment"]) == (None, running)
    # 2500 - 1500 for the period; and 6000 - (1500 + 20 + 980) - (1500 + 1000) for both.
    assert await coming(customer) == [("plan", 1600), ("minimum", 1000), ("commitment", 1000)]
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await charged(customer) == [1500, 2500, 3600]
    sold = await customer.subscription()
    assert (sold["amount_cents"], sold["minimum_cents"], sold["commitment"]) == (1600, None, None)
    assert await coming(customer) == [("plan", 1600)]
    await use(customer, "11")
    assert await coming(customer) == [("plan", 1600), ("usage", 100)]
    ended = await customer.actors.operate(
        "DELETE", f"/admin/accounts/{customer.id}/contract", status=200
    )
    assert ended["effective_to"] is not None
    await customer.refused("CONTRACT_NOT_FOUND", "GET", "/billing/contract")
    kept = await coming(customer)
    assert kept == [("plan", 1600), ("usage", 100)], "what was sold keeps its price"
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_each_plan_of_a_contract_is_looked_up_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, looks = store.find_plan, list[str]()

    async def found(connection: AsyncConnection, key: str) -> Plan | None:
        looks.append(key)
        return await find(connection, key)

    monkeypatch.setattr(store, "find_plan", found)
    account = (await api.new_account())["id"]
    prices = [PRICE, PRICE | {"interval": "year", "amount_cents": 15000}]
    for _ in ("agreed", "unchanged"):
        looks.clear()
        path = f"/api/v1/admin/accounts/{account}/contract"
        done = await api.client.put(path, json={"prices": prices}, headers=api.admin())
        assert done.status_code == 200, done.text
        assert looks == ["basic"]


async def test_a_contract_names_a_plan_by_its_key_or_by_its_id(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    plans = (await actors.operate("GET", "/admin/plans"))["data"]
    (plan_id,) = [one["id"] for one in plans if one["key"] == "basic"]
    by_id = PRICE | {"plan": ids.encode(ids.PLAN, UUID(plan_id))}
    terms: Json = {
        "commitment": {"amount_cents": 6000, "currency": "USD", "periods": 2},
        "effective_from": "2027-01-02T10:00:00Z",
    }
    made = await agree(customer, prices=[by_id], **terms)
    assert made["prices"][0]["plan"] == "basic"
    await customer.advance(days=2)
    for price in (by_id, PRICE):
        assert await agree(customer, prices=[price], **terms) == made, "it changes nothing"
    refused = await actors.operate(
        "PUT", f"/admin/accounts/{customer.id}/contract", {"prices": [PRICE, by_id]}, status=422
    )
    assert [one["field"] for one in refused["errors"]] == ["prices"]


async def test_a_limit_that_cannot_be_agreed_is_refused_by_its_field(customer: Customer) -> None:
    body = {"prices": [], "limits": {"ai_responses": {"included": "10", "then": "overage"}}}
    path = f"/admin/accounts/{customer.id}/contract"
    refused = await customer.actors.operate("PUT", path, body, status=422)
    assert [one["field"] for one in refused["errors"]] == ["limits.ai_responses.prices"]


async def test_a_contract_that_sold_in_this_instant_is_corrected_later(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE])
    await customer.subscribed("basic")
    other: Json = {"prices": []}
    for method, body in (("PUT", other), ("DELETE", None)):
        refused = await actors.operate(
            method, f"/admin/accounts/{customer.id}/contract", body, status=409
        )
        assert refused["code"] == "CONTRACT_SOLD"
    await customer.advance(days=1)
    await agree(customer, **other)


async def test_a_corrected_contract_leaves_the_commitment_that_runs(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 6000, "currency": "USD", "periods": 2}
    await agree(customer, prices=[PRICE], commitment=committed)
    await customer.subscribed("basic")
    runs = (await customer.subscription())["commitment"]
    await customer.advance(days=1)
    cheaper = PRICE | {"amount_cents": 1400, "minimum_cents": None}
    await agree(customer, prices=[cheaper], commitment=committed | {"amount_cents": 5000})
    await customer.advance(to=RENEWAL)
    sold = await customer.subscription()
    assert (sold["amount_cents"], sold["commitment"]["ends_at"]) == (1400, runs["ends_at"])
    await customer.advance(to="2027-03-01T10:00:00Z")
    # 6000 less 1500 and the 1000 to its minimum, and less 1400.
    assert await charged(customer) == [1500, 1400 + 1000, 1400 + 2100]
    comes = (await customer.subscription())["commitment"]
    assert (comes["amount_cents"], comes["ends_at"][:10]) == (5000, "2027-05-01")
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_another_zone_waits_for_the_end_of_a_commitment(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 7500, "currency": "USD", "periods": 4}
    await agree(customer, prices=[PRICE], commitment=committed)
    await customer.subscribed("basic")
    named = {"external_id": customer.account["external_id"], "zone": "America/Los_Angeles"}
    await actors.operate("POST", "/admin/accounts", named, status=200)
    zones = []
    for _ in range(5):
        await customer.advance(to=(await customer.subscription())["current_period_end"])
        (row,) = await customer.rows("SELECT zone FROM subscriptions WHERE account_id = %(me)s")
        zones.append(row["zone"])
    assert zones == ["UTC"] * 3 + ["America/Los_Angeles"] * 2
    assert (await customer.subscription())["commitment"] is None


async def test_a_pause_before_an_end_gives_nothing_back_of_a_minimum(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE | {"minimum_cents": 10000}])
    await customer.subscribed("basic")
    await customer.advance(days=10)
    path = "/billing/subscription"
    await customer.ask("POST", f"{path}/pause", {"at": "now"}, status=200)
    await customer.advance(days=1)
    end = {"at": "now", "refund": "credit"}
    await customer.ask("POST", f"{path}/cancel", end, status=200)
    # 10 of 31 days of 10000, of which 1500 were paid.
    assert await charged(customer) == [1500, 1726]
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 0


async def test_a_minimum_that_a_pause_closed_is_kept_whatever_plan_comes_then(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    price = PRICE | {"interval": "year", "amount_cents": 15000, "minimum_cents": 365000}
    await agree(customer, prices=[price])
    await customer.subscribed("basic", interval="yearly")
    await customer.advance(days=10)
    path = "/billing/subscription"
    await customer.ask("POST", f"{path}/pause", {"at": "now"}, status=200)
    await customer.ask("PUT", path, {"plan": "starter"}, status=200)
    assert (await customer.subscription())["minimum_cents"] is None
    end = {"at": "now", "refund": "credit"}
    await customer.ask("POST", f"{path}/cancel", end, status=200)
    # 10 of 365 days of 365000 are less than the price.
    assert await charged(customer) == [15000]
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 0


async def test_an_early_end_owes_the_rest_of_a_commitment(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 10000, "currency": "USD", "periods": 12}
    await agree(customer, prices=[], commitment=committed)
    await customer.subscribed("basic")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    # 10000 less the 1900 that were paid.
    await wait_for(
        lambda: charged(customer), "the rest is charged", lambda seen: seen == [1900, 8100]
    )
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_pause_puts_no_commitment_off(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 10000, "currency": "USD", "periods": 2}
    await agree(customer, prices=[], commitment=committed)
    await customer.subscribed("basic")
    await customer.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert await charged(customer) == [1900]
    shown = await customer.ask("GET", "/billing/subscription/upcoming", status=200)
    assert (shown["step"], shown["at"]) == ("close_commitment", "2027-03-01T10:00:00Z")
    assert await coming(customer) == [("commitment", 8100)]
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await charged(customer) == [1900, 8100]
    paused = await customer.subscription()
    assert (paused["status"], paused["commitment"]) == ("paused", None)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    assert await charged(customer) == [1900, 8100]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_days_that_are_given_after_a_change_raise_no_minimum(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-04-01T10:00:00Z")
    least = PRICE | {"minimum_cents": 10000}
    await agree(customer, prices=[least, least | {"plan": "pro"}])
    await customer.subscribed("basic")
    await customer.advance(to="2027-04-16T10:00:00Z")
    await customer.ask("PUT", "/billing/subscription", {"plan": "pro"}, status=200)
    assert await coming(customer) == [("plan", 1500), ("minimum", 8500)]
    days = {"days": 30, "reason": "an outage of ours"}
    path = f"/admin/accounts/{customer.id}/subscription/extend"
    await actors.operate("POST", path, days, status=200, key=str(uuid4()))
    assert await coming(customer) == [("plan", 1500), ("minimum", 8500)]
    await customer.advance(to="2027-05-31T10:00:00Z")
    assert await minimum(customer) == [8500]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_days_that_are_given_close_no_commitment_early(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 6000, "currency": "USD", "periods": 2}
    await agree(customer, prices=[], commitment=committed)
    await customer.subscribed("basic")
    days = {"days": 28, "reason": "an outage of ours"}
    path = f"/admin/accounts/{customer.id}/subscription/extend"
    await actors.operate("POST", path, days, status=200, key=str(uuid4()))
    sold = await customer.subscription()
    assert sold["current_period_end"] == "2027-03-01T10:00:00Z"
    assert sold["commitment"]["ends_at"] == "2027-04-01T10:00:00Z"
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await charged(customer) == [1900, 1900]
    await customer.advance(to="2027-04-01T10:00:00Z")
    # 6000 less 1900 for each of the two periods, and the third one's price.
    assert await charged(customer) == [1900, 1900, 2200 + 1900]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_another_interval_and_net_terms(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    quarterly = {"plan": "basic", "interval": "3 months", "currency": "USD", "amount_cents": 4000}
    paid = {"collection": "send_invoice", "days_until_due": 45}
    assert paid.items() <= (await agree(customer, prices=[quarterly], **paid)).items()
    begun = await customer.subscribe("basic", interval="3 months")
    assert (begun["days_until_due"], begun["amount_cents"]) == (45, 4000)
    assert begun["current_period_end"][:10] == "2027-04-01"
    path = f"/admin/accounts/{customer.id}/contract"
    await customer.refused("FORBIDDEN", "PUT", path, {"prices": []})


LEAST: Json = {
    "plan": "basic", "interval": "month", "currency": "USD", "amount_cents": 1000,
    "minimum_cents": 1000,
}  # fmt: skip


async def test_a_trial_whose_contract_sends_invoices_needs_no_card(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await agree(customer, prices=[PRICE], collection="send_invoice", days_until_due=30)
    await customer.advance(days=14)
    begun = await customer.subscription()
    assert (begun["status"], begun["collection"]) == ("active", "send_invoice")
    (first,) = await customer.invoices()
    assert (first["status"], first["total_minor"]) == ("open", 1500)


async def test_a_use_taken_back_lowers_what_was_spent_in_its_own_period_alone(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[LEAST])
    await customer.subscribed("basic")
    wrong = await use(customer, "1500")  # 1000 beyond the plan: 2000 cents
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1000, 3000]
    path, body = f"/billing/records/{wrong['billing_id']}/void", {"reason": "sent twice"}
    await customer.actors.operate("POST", path, body, account=customer.id)
    assert await coming(customer) == [("plan", 1000)], "the second month has its 1000"
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_plan_given_back_in_part_has_spent_the_rest_of_its_own_price(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-04-01T10:00:00Z")
    await agree(customer, prices=[LEAST | {"amount_cents": 2000, "minimum_cents": 3000}])
    await customer.subscribed("basic")
    await use(customer, "1000")  # 500 beyond the plan: 1000 cents
    await customer.advance(to="2027-05-01T10:00:00Z")
    assert await charged(customer) == [2000, 3000]
    await customer.advance(to="2027-05-16T22:00:00Z")
    half = {"at": "now", "refund": "credit"}
    await customer.ask("POST", "/billing/subscription/cancel", half, status=200)
    # The least is 1500 by then, and 1000 of the plan's 2000 are spent.
    await wait_for(lambda: minimum(customer), "the rest is asked for", lambda seen: seen == [500])
    assert await differences(actors.sql, [customer.uuid]) == []


async def minimum(customer: Customer) -> list[int]:
    rows = await customer.rows(
        "SELECT l.amount_minor FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id"
        " WHERE i.account_id = %(me)s AND l.kind = 'minimum' AND i.status <> 'void' ORDER BY i.id"
    )
    return [row["amount_minor"] for row in rows]


async def test_what_is_agreed_during_a_pause_comes_with_the_period_after_it(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    path = "/billing/subscription"
    await customer.ask("POST", f"{path}/pause", {"at": "now"}, status=200)
    committed = {"amount_cents": 6000, "currency": "USD", "periods": 2}
    await agree(customer, prices=[PRICE], commitment=committed)
    await customer.advance(days=10)
    seen = await customer.ask("POST", "/billing/pay-overdue", {"dry_run": True}, status=200)
    assert seen["resumption"]["amount_cents"] == 1500
    await customer.script("insufficient_funds", then="normal")
    await customer.refused("CARD_DECLINED", "POST", f"{path}/resume")
    assert (await customer.subscription())["commitment"] is None, "nothing was sold yet"
    await customer.advance(days=1)

    await customer.ask("POST", f"{path}/resume", status=200)

    sold = await customer.subscription()
    assert (sold["amount_cents"], sold["minimum_cents"]) == (1500, 2500)
    assert sold["commitment"]["ends_at"][:10] == "2027-03-12"
    assert await charged(customer) == [1900, 1500]
    await customer.advance(to="2027-02-12T10:00:00Z")
    assert await charged(customer) == [1900, 1500, 2500]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_limits_of_a_later_contract_come_and_go_with_a_period(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    limits = {"ai_responses": {"included": "10", "then": "overage", "prices": {"USD": "1"}}}
    await agree(
        customer, prices=[PRICE], limits=limits,
        effective_from="2027-02-15T10:00:00Z", effective_to="2027-03-15T10:00:00Z",
    )  # fmt: skip
    seen = []
    for at in ("2027-02-20", "2027-03-01", "2027-03-20", "2027-04-01"):
        await customer.advance(to=f"{at}T10:00:00Z")
        seen.append((await included(customer))[1])
    assert seen == ["500.00", "10.00", "10.00", "500.00"]


async def test_limits_of_a_contract_to_come_never_begin_once_it_is_ended_or_replaced(
    actors: Actors,
) -> None:
    limits = {"ai_responses": {"included": "10", "then": "overage", "prices": {"USD": "1"}}}
    ended, replaced = [await actors.customer_on_clock(START) for _ in range(2)]
    for one in (ended, replaced):
        await one.subscribed("basic")
        await agree(one, prices=[PRICE])
        await agree(one, prices=[PRICE], limits=limits, effective_from="2027-02-15T10:00:00Z")
    await actors.operate("DELETE", f"/admin/accounts/{ended.id}/contract", status=200)
    await agree(replaced, prices=[PRICE], reference="another")
    for one in (ended, replaced):
        await one.advance(to="2027-03-02T10:00:00Z")
        assert (await included(one))[1] == "500.00"


async def test_a_contract_that_is_agreed_for_later_can_be_brought_forward(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    later = await agree(customer, prices=[PRICE], effective_from="2027-02-15T10:00:00Z")
    now = await agree(customer, prices=[PRICE])
    assert (later["effective_from"], now["effective_from"]) == ("2027-02-15T10:00:00Z", START)
    assert await agree(customer, prices=[PRICE]) == now
    await customer.subscribed("basic")
    assert (await customer.subscription())["amount_cents"] == 1500
