"""An end or a pause while a change is owed: time that was not served is not."""

from decimal import Decimal
from typing import Any

import pytest

from billing.core.ids import INVOICE, encode
from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.changes.chosen_plans import PATH, change
from tests.integration.changes.test_seats import team
from tests.integration.credits.test_top_ups import spend
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_transfers import approved, sent

START = "2027-04-01T10:00:00Z"
UP = "2027-04-11T10:00:00Z"
LATER = "2027-04-21T10:00:00Z"
MAY = "2027-05-04T10:00:00Z"
NOW = {"at": "now", "refund": "credit"}


async def begun(actors: Actors, plan: str = "pro", **more: Any) -> Customer:
    """A subscription to be paid by transfer, whose first period is paid."""
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer(plan, days_until_due=30, **more)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    return customer


async def last(customer: Customer) -> Json:
    return (await customer.invoices())[-1]


def left(invoice: Json) -> tuple[Any, ...]:
    credited = invoice["amount_credited_minor"]
    rest = invoice["amount_due_minor"] - invoice["amount_paid_minor"] - credited
    return invoice["status"], credited, rest


async def test_an_end_takes_back_what_a_change_charged_for_time_not_served(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.advance(to=UP)
    await change(customer, plan="enterprise")
    assert left(await last(customer)) == ("open", 0, 30000)
    assert await customer.credits() > 500
    await customer.advance(to=LATER)
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)
    assert seen["credited_cents"] == 16634

    done = await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)

    assert done["given_back"] is None, "the invoice asks less, and no money was paid for it"
    assert left(await last(customer)) == ("open", 16634, 30000 - 16634)
    assert await money(customer) == 0
    assert 0 < await customer.credits() < 3500, "those of the time that is over"


@pytest.mark.parametrize(
    ("how", "balance"), [({"at": "now"}, 0), ({"at": "now", "refund": "credit"}, 4900)]
)
async def test_what_is_paid_of_a_change_goes_back_only_where_it_is_asked_for(
    actors: Actors, how: Json, balance: int
) -> None:
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    assert left(await last(customer)) == ("open", 0, 45000)

    await customer.ask("POST", f"{PATH}/cancel", how, status=200)

    assert left(await last(customer)) == ("paid", 45000, 0)
    assert await money(customer) == balance


async def test_a_change_is_owed_for_the_time_that_was_served_alone(actors: Actors) -> None:
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    await customer.advance(to="2027-04-06T10:00:00Z")
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    # 25 of 30 days of 49900.
    assert left(await last(customer)) == ("open", 41583, 45000 - 41583)


async def test_a_pause_takes_back_what_a_change_charged_for_time_not_served(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.advance(to=UP)
    await change(customer, plan="enterprise")
    await customer.advance(to=LATER)
    paused = await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    assert paused["status"] == "paused"
    assert left(await last(customer)) == ("open", 16634, 30000 - 16634)
    assert await money(customer) == 0


async def test_an_end_takes_back_what_an_add_on_charged_and_was_not_served(
    actors: Actors,
) -> None:
    customer = await begun(actors, "basic")
    await choose(customer, ai_500=2)
    billed = await last(customer)
    assert billed["status"] == "open"
    await customer.advance(to="2027-04-16T10:00:00Z")

    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)

    half = billed["amount_due_minor"] // 2
    assert left(await last(customer)) == ("open", half, half)
    assert await money(customer) == 950


@pytest.mark.parametrize("verb", ["cancel", "pause"])
@pytest.mark.parametrize(
    ("spent", "taken_back", "kept"),
    # Of 5000 credits for 30 days: none is spent, half of them are, all are.
    [("0", 45000, 500), ("2500", 24950, 0), ("5000", 0, 0)],
)
async def test_time_whose_credits_came_unpaid_and_are_spent_is_owed(
    actors: Actors, verb: str, spent: str, taken_back: int, kept: int
) -> None:
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    assert await customer.credits() == 5000
    if spent != "0":
        await spend(customer, spent)

    await customer.ask("POST", f"{PATH}/{verb}", {"at": "now"}, status=200)

    state = "open" if taken_back < 45000 else "paid"
    assert left(await last(customer)) == (state, taken_back, 45000 - taken_back)
    assert await customer.credits() == kept, "what came unpaid is gone; what is paid stays"


@pytest.mark.parametrize("verb", ["cancel", "pause"])
@pytest.mark.parametrize(
    ("spent", "state", "credited", "kept"), [("0", "paid", 7000, 62), ("279", "open", 0, 0)]
)
async def test_credits_that_came_unpaid_stay_so_after_a_step_down(
    actors: Actors, verb: str, spent: str, state: str, credited: int, kept: int
) -> None:
    customer = await begun(actors, await team(actors), quantity=2)
    await change(customer, quantity=10)
    await change(customer, quantity=9, at="now")
    assert left(await last(customer)) == ("open", 0, 7000), "it asks for all that the first one did"
    assert await customer.credits() == 279
    if spent != "0":
        await spend(customer, spent)

    await customer.ask("POST", f"{PATH}/{verb}", {"at": "now"}, status=200)

    assert left(await last(customer)) == (state, credited, 7000 - credited)
    assert await customer.credits() == kept, "what two paid seats brought"


async def test_credits_of_an_unpaid_renewal_that_a_step_down_brings_are_owed(
    actors: Actors,
) -> None:
    customer = await begun(actors, await team(actors), quantity=10)
    await customer.advance(to="2027-05-01T10:05:00Z")
    assert await customer.credits() == 0
    await change(customer, quantity=9, at="now")
    asked = (await last(customer))["amount_due_minor"]
    await spend(customer, "279")
    await customer.advance(to=MAY)

    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)

    assert left(await last(customer)) == ("open", 0, asked)


async def test_credits_that_came_unpaid_stay_so_in_the_period_that_a_change_begins(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    await spend(customer, "5000")
    await change(customer, interval="year", at="now")
    asked = (await last(customer))["amount_due_minor"]
    assert await customer.credits() == 0

    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)

    state, credited, rest = left(await last(customer))
    assert (state, credited + rest) == ("open", asked)
    assert rest > 30000, "the month whose credits are spent"


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_credits_of_an_unpaid_change_that_net_to_none_are_owed(
    actors: Actors, verb: str
) -> None:
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    await spend(customer, "5000")
    await customer.advance(to="2027-04-28T10:00:00Z")
    await change(customer, plan="pro", interval="year", at="now")
    assert await customer.credits() == 0, "a tenth of 5000, as many as a month of the new plan has"
    asked = (await last(customer))["amount_due_minor"]

    await customer.ask("POST", f"{PATH}/{verb}", {"at": "now"}, status=200)

    state, credited, rest = left(await last(customer))
    assert (state, credited + rest) == ("open", asked)
    assert rest > 4000, "the month whose credits are spent"


@pytest.mark.parametrize("resumes_first", [True, False])
async def test_what_a_pause_left_owed_brings_no_credits_of_the_cycle_that_it_ended(
    actors: Actors, resumes_first: bool
) -> None:
    customer = await begun(actors)
    await customer.advance(to=MAY)
    assert await customer.credits() == 0, "they wait for the payment of the second period"
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    owed = await last(customer)
    assert left(owed) == ("open", 4426, 474), "3 of 31 days are served"
    if resumes_first:
        await customer.ask("POST", f"{PATH}/resume", status=200)

    await approved(
        customer, await sent(customer, {"invoice_id": encode(INVOICE, owed["id"])}, "T-2")
    )

    assert await customer.credits() == 0, "those of a new cycle wait for its own payment"


@pytest.mark.parametrize("pauses_again", [False, True])
async def test_what_a_pause_left_owed_before_an_upgrade_brings_no_credits(
    actors: Actors, pauses_again: bool
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-05-11T22:00:00Z")
    await change(customer, plan="enterprise")
    renewal = (await customer.invoices())[-2]
    assert left(renewal) == ("open", 3240, 1660), "a third of the month was served"
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    assert await customer.credits() == 0, "those of the upgrade are gone"
    await customer.advance(to="2027-05-12T10:00:00Z")
    await customer.ask("POST", f"{PATH}/resume", status=200)
    if pauses_again:
        await customer.advance(to="2027-05-13T10:00:00Z")
        await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
        await customer.advance(to="2027-05-14T10:00:00Z")
        await customer.ask("POST", f"{PATH}/resume", status=200)

    asked = {"invoice_id": encode(INVOICE, renewal["id"])}
    await approved(customer, await sent(customer, asked, "T-2"))

    assert await customer.credits() == 0, "those of a new cycle wait for its own payment"


async def test_invoices_that_are_paid_after_two_new_periods_bring_no_credits_twice(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.advance(to=MAY)
    await change(customer, plan="basic", interval="year", at="now")
    await customer.advance(days=10)
    await change(customer, plan="basic", interval="month", at="now")
    _, renewal, year, *_ = await customer.invoices()
    for number, one in enumerate((year, renewal), start=2):
        assert left(one)[0] == "open"
        asked = {"invoice_id": encode(INVOICE, one["id"])}
        await approved(customer, await sent(customer, asked, f"T-{number}"))
    served = Decimal(3 * 500 + 10 * 100) / 31
    assert round(await customer.credits(), 3) == round(served + 100, 3)
    await check_books(customer)


async def test_credits_that_are_paid_and_spent_keep_no_add_on_owed(actors: Actors) -> None:
    customer = await begun(actors, "basic")
    await choose(customer, ai_500=1)
    assert left(await last(customer)) == ("open", 0, 700)
    await spend(customer, "100")

    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)

    assert left(await last(customer)) == ("paid", 700, 0)


async def test_a_cycle_within_the_period_waits_for_the_money_of_a_change(actors: Actors) -> None:
    customer = await customer_of_a_year(actors)
    await change(customer, plan="enterprise")
    await customer.advance(to="2027-05-01T10:00:00Z")
    assert await customer.credits() == 0
    asked = (await customer.subscription())["next_action"]
    await approved(customer, await sent(customer, asked, "T-2"))
    assert await customer.credits() == 5000


@pytest.mark.parametrize(
    ("wish", "credits"),
    [
        # A day of the 31 is over.
        ({"plan": "basic"}, Decimal("112.903226")),
        ({"plan": "enterprise", "interval": "year"}, 5000 + Decimal("16.129032")),
    ],
    ids=["down", "a new period"],
)
async def test_money_of_a_period_brings_its_credits_until_a_change(
    actors: Actors, wish: Json, credits: Decimal
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-05-02T10:00:00Z")
    assert await customer.credits() == 0, "the second month is not paid yet"
    await change(customer, **wish, at="now")
    for number, one in enumerate(await customer.invoices()):
        if one["status"] == "open":
            asked = {"invoice_id": encode(INVOICE, one["id"])}
            await approved(customer, await sent(customer, asked, f"T-1{number}"))
    assert abs(await customer.credits() - credits) < Decimal("0.00001")


async def customer_of_a_year(actors: Actors) -> Customer:
    """A subscription by the year, paid by transfer, with two months to pay the next invoice."""
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer("pro", interval="year", days_until_due=60)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    return customer


async def test_what_is_paid_of_an_unpaid_change_lowers_the_next_one_first(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    plan = await team(actors)
    asked = await customer.subscribe_by_transfer(plan, quantity=5, days_until_due=30)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    await customer.advance(to="2027-04-16T10:00:00Z")
    await change(customer, quantity=7)
    # Half of 70.00, less half of 50.00.
    assert left(await last(customer)) == ("open", 0, 1000)
    up = (await last(customer))["id"]

    wish = {"quantity": 4, "at": "now"}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    await change(customer, **wish, preview_token=seen["preview_token"])

    # Of the 35.00 that are not used 10.00 are owed; four seats cost 20.00 of the 25.00 paid.
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 1000 + 500)
    down = await last(customer)
    assert (down["total_minor"], down["status"]) == (0, "paid")
    assert [left(one) for one in await customer.invoices() if one["id"] == up] == [
        ("paid", 1000, 0)
    ]
    assert await money(customer) == 500, "as five seats that become four at once"
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == 500 + 2000
    await check_books(customer)
