"""Money that goes back for what was served lowers nothing that a minimum counts as spent."""

from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.overage_uses import use
from tests.integration.arrears.test_contracts import minimum
from tests.integration.changes.chosen_plans import change
from tests.integration.dunning.dunning_setup import owed, steer
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import money
from tests.integration.recomputed_sums import differences
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for, refunded

START: Final = "2027-04-01T10:00:00Z"
SECOND: Final = "2027-05-01T10:00:00Z"
LATER: Final = "2027-05-11T10:00:00Z"
THIRD: Final = "2027-06-01T10:00:00Z"
PRICE: Final = {
    "plan": "basic", "interval": "month", "currency": "USD", "amount_cents": 3000,
    "minimum_cents": 5000,
}  # fmt: skip
CANCEL: Final = {"at": "now", "refund": "credit"}
PATH: Final = "/billing/subscription"


async def begun(actors: Actors, **price: int) -> Customer:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE | price])
    await customer.subscribed("basic")
    return customer


async def test_a_debt_that_is_forgiven_is_not_charged_again_by_the_next_period(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.script("insufficient_funds")
    await customer.advance(to="2027-05-02T10:00:00Z")
    assert (await owed(customer))["amount_remaining"] == 5000
    await steer(customer, "forgive", {"reason": "our fault"})
    await customer.advance(to=THIRD)
    assert await minimum(customer) == [2000, 2000]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_payment_that_went_back_has_its_card_charged_no_minimum(actors: Actors) -> None:
    refund, dispute = [await begun(actors, minimum_cents=30_000) for _ in range(2)]
    for customer in (refund, dispute):
        await customer.advance(to="2027-04-11T10:00:00Z")
    await refunded(refund, await paid_for(refund))
    payment = await paid_for(dispute)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, dispute, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    await disputed(actors, dispute, "lost")
    for customer in (refund, dispute):
        await customer.until_subscription("canceled")
        assert (await customer.subscription())["end_reason"] == "its payment went back"
        assert await minimum(customer) == []
        charged = [one["name"] for one in await customer.effects(None)]
        assert charged.count("charge.succeeded") == 1


async def test_an_operator_can_give_money_back_of_a_plan_with_a_minimum(actors: Actors) -> None:
    kept, noted = await begun(actors), await begun(actors)
    await refunded(kept, await paid_for(kept), keep_subscription=True)
    body = {"amount_cents": 1000, "reason": "a bad day", "to": "balance"}
    await commanded(noted, await paid_for(noted), "credit-note", body)
    for customer in (kept, noted):
        await customer.advance(to=SECOND)
        assert await minimum(customer) == [2000]
        assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_refund_counts_the_same_before_an_end_and_without_one(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "1250")  # 750 beyond the plan: 1500 cents
    await customer.advance(to=SECOND)
    assert await minimum(customer) == [500]
    await customer.advance(to=LATER)
    await refunded(customer, await paid_for(customer), 1000)
    await customer.ask("POST", f"{PATH}/cancel", CANCEL, status=200)
    await customer.until_subscription("canceled")
    # 10 of 31 days: 1613 at least; 2032 of the price go back, so 968 are spent.
    assert await minimum(customer) == [500, 1613 - 968]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_paid_year_gives_back_all_time_since_it_became_unpaid(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", interval="year")
    [paid] = await customer.effects()
    await use(customer, "750")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-05-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    await customer.ask("POST", f"{PATH}/cancel", CANCEL, status=200)
    # It became unpaid on 9 May at 10:00, and serves 38 of 366 days.
    assert await money(customer) == round(paid["amount"] * 328 / 366)


async def test_a_change_and_an_end_in_one_second_count_what_is_given_back_once(
    actors: Actors,
) -> None:
    customer = await begun(actors, amount_cents=1000, minimum_cents=3000)
    await customer.advance(to="2027-04-11T10:00:00Z")
    await customer.ask("PUT", PATH, {"plan": "pro", "at": "now"}, status=200)
    await customer.ask("POST", f"{PATH}/cancel", CANCEL, status=200)
    await customer.until_subscription("canceled")
    # 10 of 30 days: 1000 at least, of which the price comes to 333.
    assert await minimum(customer) == [667]


async def test_a_change_that_is_paid_later_has_spent_nothing_of_the_period_it_closes(
    actors: Actors,
) -> None:
    customer = await begun(actors, amount_cents=1000, minimum_cents=9000)
    await customer.advance(to="2027-04-16T10:00:00Z")
    wish = {"interval": "year", "payment_method": "card"}
    asked = await customer.ask("PUT", PATH, wish, status=200)
    await customer.advance(to="2027-04-16T11:00:00Z")
    await customer.pay(asked)
    await wait_for(lambda: minimum(customer), "the month closes", bool)
    # Half of the month: 4500 at least, of which the price comes to 500.
    assert await minimum(customer) == [4000]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_change_between_two_others_dodges_no_minimum(actors: Actors) -> None:
    year, least = f"year-{uuid4().hex[:8]}", f"least-{uuid4().hex[:8]}"
    monthly = {"USD": {"amount_minor": 1000, "minimum_minor": 3000}}
    for key, prices in ((year, {}), (least, {"month": monthly})):
        body = {"family": "leasts", "name": key, "prices": {"year": {"USD": 12000}} | prices}
        await actors.operate("PUT", f"/admin/plans/{key}", body)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(year, interval="year")
    await customer.advance(to=SECOND)
    await change(customer, plan=least, at="now")
    await change(customer, interval="month", at="now")
    await customer.advance(to="2027-06-01T11:00:00Z")
    assert await minimum(customer) == [2000], "a month was charged, and the least is three"
    assert await differences(actors.sql, [customer.uuid]) == []
