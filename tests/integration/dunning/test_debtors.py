"""Acts that a debtor may still do, and debts that are given up and not settled by that."""

from tests.integration.actors import Actors
from tests.integration.dunning.dunning_setup import overdue, owed
from tests.integration.dunning.test_final_actions import EXHAUSTED


async def test_a_debt_that_is_given_up_serves_nothing_until_somebody_pays_it(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to=EXHAUSTED)
    debt = (await owed(customer))["invoice_id"]
    path = f"/admin/invoices/{debt}/mark-uncollectible"
    await actors.operate("POST", path, {"reason": "insolvent"}, key="books")
    assert (await customer.subscription())["status"] == "unpaid"
    assert (await customer.ask("GET", "/billing/entitlements"))["access"] == "none"
    await customer.script("succeed", then="last")
    await customer.ask("POST", f"/billing/invoices/{debt}/pay", {}, key="k", status=200)
    assert (await customer.until_subscription("active"))["current_period_end"].startswith("2027-03")


async def test_a_debtor_begins_no_trial_until_the_debt_is_paid(actors: Actors) -> None:
    customer = await overdue(actors)
    subscription = "/billing/subscription"
    await customer.advance(days=2)
    await customer.ask("POST", f"{subscription}/cancel", {"at": "now"}, status=200)
    wish = {"plan": "pro"}
    await customer.refused("PAYMENT_OVERDUE", "POST", subscription, wish, key="plan")
    await customer.refused("PAYMENT_OVERDUE", "POST", "/billing/trials", key="credits")
    paid = wish | {"trial": False, "payment_method": "card"}
    begun = await customer.ask("POST", subscription, paid, key="paid", status=201)
    assert begun["status"] == "incomplete"

    await customer.script("succeed", then="last")
    debt = (await owed(customer))["invoice_id"]
    await customer.ask("POST", f"/billing/invoices/{debt}/pay", {}, key="k", status=200)
    await customer.ask("POST", "/billing/trials", key="again", status=201)


async def test_who_became_unpaid_begins_no_trial(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to=EXHAUSTED)
    assert (await customer.subscription())["status"] == "unpaid"
    await customer.refused("PAYMENT_OVERDUE", "POST", "/billing/trials", key="credits")


async def test_a_scheduled_end_is_taken_back_while_unpaid(actors: Actors) -> None:
    customer = await overdue(actors)
    subscription = "/billing/subscription"
    end = {"cancel_at": "2027-06-15T10:00:00Z"}
    await customer.ask("POST", f"{subscription}/cancel", end, status=200)
    await customer.advance(to=EXHAUSTED)
    stays = await customer.ask("POST", f"{subscription}/reactivate", status=200)
    assert (stays["status"], stays["cancel_at"]) == ("unpaid", None)
    refused = await customer.refused("SUBSCRIPTION_STATE", "POST", f"{subscription}/reactivate")
    assert refused["detail"] == "no end is scheduled"


async def test_a_scheduled_end_is_taken_back_in_a_pause(actors: Actors) -> None:
    customer = await overdue(actors)
    subscription = "/billing/subscription"
    end = {"cancel_at": "2027-06-15T10:00:00Z"}
    await customer.ask("POST", f"{subscription}/cancel", end, status=200)
    await customer.advance(to="2027-03-02T10:00:00Z")
    await customer.script("succeed", then="last")
    debt = (await owed(customer))["invoice_id"]
    await customer.ask("POST", f"/billing/invoices/{debt}/pay", {}, key="k", status=200)
    await customer.until_subscription("paused")
    stays = await customer.ask("POST", f"{subscription}/reactivate", status=200)
    assert (stays["status"], stays["cancel_at"]) == ("paused", None)
    await customer.advance(to="2027-06-16T10:00:00Z")
    assert (await customer.subscription())["status"] == "paused"
