"""A plan's trial that ends without a card, where the plan does not cancel for that."""

from uuid import uuid4

from tests.integration.actors import Actors, Customer, instant, wait_for
from tests.integration.arrears.overage_uses import use
from tests.integration.dunning.dunning_setup import START, owed
from tests.integration.operator_acts import check_books

TRIAL_END = "2027-01-15T10:00:00Z"


async def on_trial(actors: Actors, behavior: str) -> Customer:
    """A customer whose trial ends so, on 15 January at 10:00 UTC."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await customer.rows(
        "UPDATE subscriptions SET trial_end_behavior = %(so)s WHERE account_id = %(me)s",
        so=behavior,
    )
    return customer


async def test_the_invoice_of_a_trials_end_is_paid_once_for_the_period_that_began_there(
    actors: Actors,
) -> None:
    customer = await on_trial(actors, "invoice")
    await customer.advance(to="2027-01-24T12:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    offered = await customer.ask("POST", path, {"payment_method": "card"}, key="k", status=200)

    await customer.pay(offered)

    now = await customer.until_subscription("active")
    assert instant(now["current_period_start"]) == instant(TRIAL_END)
    assert instant(now["current_period_end"]) == instant("2027-02-15T10:00:00Z")
    await customer.advance(to="2027-02-15T10:00:00Z")
    assert [one["amount"] for one in await customer.effects()] == [1900, 1900]


async def test_a_trial_that_ends_in_a_pause_goes_on_when_somebody_resumes_it(
    actors: Actors,
) -> None:
    customer = await on_trial(actors, "pause")
    await customer.advance(to="2027-01-20T10:00:00Z")
    paused = await customer.subscription()
    assert (paused["status"], paused["pause_reason"]) == ("paused", "trial_ended")
    resume = "/billing/subscription/resume"
    await customer.refused("PAYMENT_METHOD_REQUIRED", "POST", resume, {})

    offered = await customer.ask("POST", resume, {"payment_method": "card"}, status=200)
    assert offered["pending_change"]["kind"] == "resume"
    await customer.pay(offered)

    now = await customer.until_subscription("active")
    assert instant(now["current_period_start"]) == instant("2027-01-20T10:00:00Z")
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert [one["amount"] for one in await customer.effects()] == [1900, 1900]


async def test_use_of_a_trial_is_billed_with_the_pause_that_ends_it(actors: Actors) -> None:
    customer = await on_trial(actors, "pause")
    await use(customer, "600")  # 100 beyond the plan, at 0.02
    await customer.advance(to="2027-01-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "paused"
    assert (await owed(customer))["amount_due"] == 200
    await customer.save_card()
    await wait_for(
        lambda: customer.ask("GET", "/billing/invoices?status=pending"),
        "what is overdue is paid by the new card, and booked",
        lambda seen: seen["data"] == [],
    )
    await customer.ask("POST", "/billing/subscription/resume", {}, status=200)
    await customer.until_subscription("active")
    assert [one["amount"] for one in await customer.effects()] == [200, 1900]
    await check_books(customer)


async def barred(customer: Customer) -> None:
    """The bank forbids further charges to the saved card."""
    await customer.save_card()
    await customer.script("stolen_card")
    pack = {"pack": "small", "payment_method": "saved_card"}
    await customer.refused("CARD_DECLINED", "POST", "/billing/purchases", pack, key=str(uuid4()))


async def test_a_trial_whose_card_is_barred_ends_as_one_without_a_card(actors: Actors) -> None:
    customer = await on_trial(actors, "cancel")
    await barred(customer)
    await customer.advance(to=TRIAL_END)
    ended = await customer.subscription()
    assert (ended["status"], ended["end_reason"]) == ("canceled", "trial ended without a card")
    assert await customer.effects() == []


async def test_a_trial_ends_with_the_backup_where_the_default_card_is_barred(
    actors: Actors,
) -> None:
    customer = await on_trial(actors, "cancel")
    await barred(customer)
    await customer.save_card("pm_card_mastercard")
    listed = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    other = next(one for one in listed if not one["is_default"])
    path = f"/billing/payment-methods/{other['id']}/backup"
    await customer.ask("POST", path, status=200)
    await customer.advance(to=TRIAL_END)
    assert (await customer.subscription())["status"] == "active"
    assert [one["amount"] for one in await customer.effects()] == [1900]


async def test_a_trial_ends_without_an_account_of_another_currency(actors: Actors) -> None:
    customer = await on_trial(actors, "cancel")
    await customer.save_card("pm_sepaDebit_success")
    await customer.advance(to=TRIAL_END)
    assert (await customer.subscription())["status"] == "canceled"
