"""A rest that a note leaves and no card can be charged is carried: nothing stands still."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.changes.chosen_plans import change
from tests.integration.dunning.dunning_setup import START, case, owed, steer
from tests.integration.invoices.operator_commands import commanded
from tests.integration.invoices.test_operating import from_outside
from tests.integration.money_seen import charged, money
from tests.integration.payments.test_money_balance import adjust
from tests.integration.payments.test_transfers import approved, sent

HOUR_LATER = "2027-02-01T11:00:00Z"


async def declined(actors: Actors, plan: str = "basic", *, debt: int = 0, **more: str) -> Customer:
    """A subscription whose renewal on 1 February at 10:00 UTC was declined an hour ago."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(plan, **more)
    if debt:
        await adjust(customer, -debt)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=HOUR_LATER)
    assert (await customer.subscription())["status"] == "past_due"
    return customer


async def dinars(actors: Actors) -> str:
    """A plan for three dinars a month; Stripe takes them in tens of fils."""
    key = f"plan-{uuid4().hex[:8]}"
    prices = {"month": {"KWD": {"amount_minor": 3_000}}}
    body = {"name": "P", "family": key, "prices": prices}
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    return key


async def canceled(customer: Customer) -> tuple[str, str | None]:
    """Status and settlement of the renewal's invoice after a cancel."""
    (debt,) = [one["id"] for one in await customer.invoices() if one["status"] == "open"]
    gone = await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    assert gone["status"] == "canceled"
    (now,) = [one for one in await customer.invoices() if one["id"] == debt]
    return now["status"], now["settlement"]


async def test_a_cancel_soon_after_a_decline_leaves_nothing_to_charge(actors: Actors) -> None:
    customer = await declined(actors)
    assert await canceled(customer) == ("paid", "carried")
    assert await money(customer) == -3, "an hour of 28 days of 19.00"
    assert (await case(customer))["status"] == "canceled"
    assert (await customer.published()).count("evt.billing.dunning.canceled") == 1
    await customer.script("succeed", then="last")
    await customer.advance(days=20)
    assert await charged(customer) == [1900]


@pytest.mark.parametrize("at", [HOUR_LATER, "2027-02-12T10:00:00Z"])
async def test_a_note_that_leaves_little_settles_the_debt(actors: Actors, at: str) -> None:
    """While it is past due, and while it is unpaid."""
    customer = await declined(actors)
    await customer.advance(to=at)
    note = {"amount_cents": 1870, "reason": "goodwill"}
    await commanded(customer, await owed(customer), "credit-note", note)
    assert await money(customer) == -30
    await customer.script("succeed", then="last")
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "active"
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await charged(customer) == [1900, 1930], "with the 30 cents"


async def forgiven(customer: Customer) -> None:
    await steer(customer, "forgive", {"reason": "our fault"})


async def credited(customer: Customer) -> None:
    note = {"amount_cents": 1900, "reason": "goodwill"}
    await commanded(customer, await owed(customer), "credit-note", note)


@pytest.mark.parametrize("settled", [forgiven, credited])
async def test_a_renewal_with_a_carried_debt_that_is_forgiven_runs_on(
    actors: Actors, settled: Callable[[Customer], Awaitable[None]]
) -> None:
    customer = await declined(actors, debt=29)
    await settled(customer)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"
    assert await customer.credits() == 100


async def test_a_step_down_from_a_renewal_with_a_carried_debt_that_is_owed_ends_nothing(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer("enterprise", days_until_due=30)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    await adjust(customer, -29)
    await customer.advance(to="2027-02-01T10:05:00Z")
    await change(customer, plan="pro", at="now")
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"


async def test_what_a_note_leaves_is_asked_for_in_whole_steps(actors: Actors) -> None:
    customer = await declined(actors, await dinars(actors), currency="KWD")
    await customer.advance(to="2027-02-04T10:30:00Z")
    assert await canceled(customer) == ("open", None)
    assert await money(customer) == -4
    await customer.script("succeed", then="last")
    await customer.advance(days=10)
    assert await charged(customer) == [3_000, 320], "of 0.324 for three days and half an hour"


@pytest.mark.parametrize("given_up", [False, True])
async def test_what_a_payment_in_part_leaves_is_asked_for_in_whole_steps(
    actors: Actors, *, given_up: bool
) -> None:
    customer = await declined(actors, await dinars(actors), currency="KWD")
    debt = await owed(customer)
    if given_up:
        await commanded(customer, debt, "mark-uncollectible", {"reason": "in vain"})
    await commanded(customer, debt, "record-payment", from_outside(1_333))
    await customer.script("succeed", then="last")
    path = f"/billing/invoices/{debt['invoice_id']}/pay"
    card = {"payment_method": "saved_card"}
    paid = await customer.ask("POST", path, card, key=str(uuid4()), status=200)
    assert paid["status"] == "paid"
    assert (await charged(customer), await money(customer)) == ([3_000, 1_660], -7)
