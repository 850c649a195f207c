"""Money that a bank took of an invoice is not given back of another one that credits it."""

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.overage_uses import RENEWAL, use
from tests.integration.changes.chosen_plans import begun, change
from tests.integration.dunning.dunning_setup import overdue, owed
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import charged, money
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_money_balance import adjust
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import paid_for, refunded

CANCEL = {"at": "now", "refund": "credit"}


# By number: a test clock that stands still gives all payments one instant.
PAYMENTS = """
    SELECT p.stripe_payment_intent_id AS id
    FROM payments p JOIN invoices i ON i.id = p.invoice_id
    WHERE p.account_id = %(me)s
    ORDER BY i.number
"""


async def first_payment(customer: Customer) -> str:
    """The provider's id of the oldest one."""
    return str((await customer.rows(PAYMENTS))[0]["id"])


async def taken(
    actors: Actors, customer: Customer, payment: str, *, amount: int | None = None
) -> None:
    """The bank takes a payment, or an amount of it, in a dispute that is lost."""
    opened = await actors.sandbox.dispute(payment, amount=amount)
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")


async def test_a_credit_of_a_charge_that_a_bank_took_is_not_given_back(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await change(customer, plan="enterprise")
    opened = await actors.sandbox.dispute(await first_payment(customer))
    await disputed(actors, customer, "open")
    await customer.refused("PAYMENT_PENDING", "POST", "/billing/subscription/cancel", CANCEL)
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    await disputed(actors, customer, "lost")
    await customer.ask("POST", "/billing/subscription/cancel", CANCEL, status=200)
    assert await money(customer) == 49900 - 4900, "what the change charged"
    await check_books(customer)


async def until_losses(actors: Actors, customer: Customer, expected: dict[str, list[int]]) -> None:
    """The disputes of the customer come to these statuses, each with our losses."""

    async def seen() -> dict[str, list[int]]:
        path = f"/admin/disputes?account_id={customer.id}"
        found: dict[str, list[int]] = {}
        for one in (await actors.operate("GET", path))["data"]:
            found.setdefault(one["status"], []).append(one["loss_cents"])
        return {status: sorted(losses) for status, losses in found.items()}

    await wait_for(seen, f"disputes are {expected}", lambda found: found == expected)


@pytest.mark.parametrize(("amount", "credits"), [(20000, "500"), (22000, "295.918367")])
@pytest.mark.parametrize("end", ["lost", "won"])
async def test_a_bank_takes_the_debt_that_was_carried_to_a_renewal_before_its_price(
    actors: Actors, amount: int, credits: str, end: str
) -> None:
    customer = await begun(actors, "pro")
    await adjust(customer, -20000)
    await customer.advance(to="2027-02-01T10:05:00Z")
    assert await charged(customer) == [4900, 24900]
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=amount)
    assert (await disputed(actors, customer, "open"))["loss_cents"] == 0
    await until_credits(customer, credits)
    assert await money(customer) == -20000, "it is owed again"
    await actors.sandbox.finish_dispute(opened.body["id"], end)
    await disputed(actors, customer, end)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"
    await until_credits(customer, credits if end == "lost" else "500")
    assert await money(customer) == (-20000 if end == "lost" else 0)
    await check_books(customer)


@pytest.mark.parametrize(("end", "balance"), [("lost", -20000), ("won", 0)])
async def test_a_debt_stays_owed_while_one_of_two_disputes_holds_its_money(
    actors: Actors, end: str, balance: int
) -> None:
    customer = await begun(actors, "pro")
    await adjust(customer, -20000)
    await customer.advance(to="2027-02-01T10:05:00Z")
    assert await charged(customer) == [4900, 24900]
    payment = (await paid_for(customer))["stripe_payment_intent_id"]
    whole = await actors.sandbox.dispute(payment)
    await disputed(actors, customer, "open")
    part = await actors.sandbox.dispute(payment, amount=20000)
    # The first has all the money: what the second took as well is our loss so far.
    await until_losses(actors, customer, {"open": [0, 20000]})
    assert await money(customer) == -20000

    await actors.sandbox.finish_dispute(whole.body["id"], "won")

    # The second took 200.00 of the 249.00 that came: they had paid the debt.
    await until_losses(actors, customer, {"won": [0], "open": [0]})
    assert await money(customer) == -20000
    assert await customer.credits() == 500
    [told] = (await customer.ask("GET", "/billing/events?type=evt.billing.dispute.won"))["data"]
    assert told["data"]["balance_cents"] == 0, "nothing of it stays"
    await actors.sandbox.finish_dispute(part.body["id"], end)
    ended = {"won": [0, 0]} if end == "won" else {"won": [0], "lost": [0]}
    await until_losses(actors, customer, ended)
    told = (await customer.ask("GET", "/billing/events?type=evt.billing.dispute." + end))["data"]
    losses = {one["data"]["amount_cents"]: one["data"]["loss_cents"] for one in told}
    assert losses[20000] == 0, "its own verdict tells that we lost nothing by it"
    assert await money(customer) == balance
    assert await customer.credits() == 500
    assert (await paid_for(customer))["amount_refunded"] == (20000 if end == "lost" else 0)
    await check_books(customer)


async def test_a_refund_found_while_a_change_waits_is_credited_there_once_that_is_paid(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.script("authentication_required")
    waits = await change(customer, plan="enterprise")
    await actors.sandbox.refund(await first_payment(customer), 4000)
    await wait_for(
        lambda: money(customer), "the change holds its room", lambda cents: cents == -4000
    )
    await customer.confirm(waits)
    await wait_for(lambda: money(customer), "nothing is owed", lambda cents: cents == 0)
    later = (await customer.ask("GET", "/billing/invoices"))["data"][0]
    seen = await customer.ask("GET", f"/billing/invoices/{later['invoice_id']}")
    assert (seen["total"], seen["credit_notes_total"]) == (49900 - 4900, 4000)
    await check_books(customer)


async def test_money_that_came_back_is_given_back_again(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await change(customer, plan="enterprise")
    opened = await actors.sandbox.dispute(await first_payment(customer))
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")
    await customer.ask("POST", "/billing/subscription/cancel", CANCEL, status=200)
    assert await money(customer) == 49900


async def test_a_chain_of_changes_gives_back_no_more_than_was_paid(actors: Actors) -> None:
    customer = await begun(actors, "basic")
    await change(customer, plan="pro")
    await change(customer, plan="enterprise")
    await taken(actors, customer, await first_payment(customer))
    await disputed(actors, customer, "lost")
    await customer.ask("POST", "/billing/subscription/cancel", CANCEL, status=200)
    assert await money(customer) == 49900 - 1900


async def test_a_period_whose_money_was_credited_and_then_lost_ends(actors: Actors) -> None:
    customer = await begun(actors, "enterprise")
    await change(customer, plan="pro", at="now")
    assert await money(customer) == 49900 - 4900
    await taken(actors, customer, await first_payment(customer))
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"
    assert await money(customer) == 0


@pytest.mark.parametrize("then", [None, {"plan": "basic", "interval": "month", "at": "now"}])
async def test_a_period_that_began_with_money_of_the_one_before_ends_with_that(
    actors: Actors, then: Json | None
) -> None:
    customer = await begun(actors, "enterprise")
    await customer.advance(to="2027-01-01T10:00:01Z")
    await change(customer, plan="pro", interval="year")
    assert await money(customer) == 49900 - 49000
    if then is not None:
        await customer.advance(to="2027-01-01T10:00:02Z")
        await change(customer, **then)
    await taken(actors, customer, await first_payment(customer))
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"
    assert await money(customer) == 0


async def test_a_period_goes_on_while_most_of_the_money_that_began_it_is_here(
    actors: Actors,
) -> None:
    customer = await begun(actors, "enterprise")
    await customer.advance(to="2027-01-01T10:00:01Z")
    await change(customer, plan="pro", interval="year")
    await taken(actors, customer, await first_payment(customer), amount=20000)
    await disputed(actors, customer, "lost")
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "active"
    assert await customer.credits() == 500


async def test_a_plan_whose_charge_a_bank_took_ends_though_a_smaller_payment_stays(
    actors: Actors,
) -> None:
    customer = await begun(actors, "basic")
    await change(customer, plan="enterprise")
    _, upgrade = await customer.rows(PAYMENTS)
    await taken(actors, customer, str(upgrade["id"]))
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"
    assert await money(customer) == 0


async def test_a_refund_that_keeps_the_subscription_does_not_let_a_bank_take_the_rest(
    actors: Actors,
) -> None:
    customer = await begun(actors, "basic")
    payment = await paid_for(customer)
    await refunded(customer, payment, 1000, keep_subscription=True)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=900)
    await disputed(actors, customer, "open")
    assert (await customer.subscription())["status"] == "active"
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"


async def test_a_bank_that_takes_the_use_of_last_month_ends_no_month_that_is_paid(
    actors: Actors,
) -> None:
    customer = await begun(actors, "basic")
    await use(customer, "2500")
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 1900 + 4000]
    _, renewal = await customer.rows(PAYMENTS)
    await taken(actors, customer, str(renewal["id"]), amount=4000)
    await disputed(actors, customer, "lost")
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"


async def test_a_period_whose_rest_was_carried_ends_with_what_was_paid(actors: Actors) -> None:
    customer = await overdue(actors)
    paper = {"amount_cents": 4880, "reference": "TRX-after-fees"}
    await commanded(customer, await owed(customer), "record-payment", paper)
    assert ((await customer.subscription())["status"], await money(customer)) == ("active", -20)
    await refunded(customer, await paid_for(customer), reference="OUT-1")
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"
