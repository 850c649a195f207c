"""A bank takes money of an invoice whose unused time two later ones credit: its loss is borne once
by what these give back.
"""

from uuid import uuid4

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.chosen_plans import RENEWAL, change, lines
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.test_credits_of_others import CREDIT, ended


async def replaced(actors: Actors) -> Customer:
    """A renewal of a plan of 60.00 and an add-on of 40.00, each replaced at once: by 90.00 and by
    80.00.
    """
    family = f"replaced-{uuid4().hex[:8]}"
    plans = ((f"{family}-one", 6000, "old", 4000), (f"{family}-two", 9000, "new", 8000))
    for key, minor, add_on, extra in plans:
        sold = {
            "key": add_on, "name": add_on, "meter": "ai_responses", "units": 500,
            "prices": {"USD": extra},
        }  # fmt: skip
        limit = {
            "meter": "ai_responses", "included": "100", "then": "overage",
            "prices": {"USD": "0.02"},
        }  # fmt: skip
        body = {"name": key, "family": family, "add_ons": [sold], "limits": [limit]}
        prices = {"prices": {"month": {"USD": minor}}}
        await actors.operate("PUT", f"/admin/plans/{key}", body | prices)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(f"{family}-one")
    await choose(customer, old=1)
    await customer.advance(to=RENEWAL)
    await change(customer, plan=f"{family}-two")
    await change(customer, add_ons=[{"add_on": "new", "quantity": 1}], at="now")
    assert (await lines(customer))[2:] == [
        [("plan", 6000), ("add_on", 4000)],
        [("proration", -6000), ("plan", 9000)],
        [("proration", -4000), ("add_on", 8000)],
    ]
    return customer


async def test_two_changes_bear_the_loss_of_what_they_credit_once(actors: Actors) -> None:
    customer = await replaced(actors)
    payments = (await customer.ask("GET", "/billing/payments"))["data"]
    (payment,) = [one for one in payments if one["amount_received"] == 10000]
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=4000)
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    dispute = await disputed(actors, customer, "lost")
    assert (dispute["amount_cents"], dispute["loss_cents"]) == (4000, 4000)
    await ended(customer, CREDIT)
    assert await money(customer) == 9000 + 8000 - 4000
    await check_books(customer)
