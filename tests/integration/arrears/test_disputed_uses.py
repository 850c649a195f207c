"""Use that is taken back while a bank or a refund may still take what was paid for it."""

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import RENEWAL, START, use
from tests.integration.operator_acts import WHY, check_books, void
from tests.integration.reversals.outside_events import disputed


async def billed(actors: Actors) -> tuple[Customer, list[Json]]:
    """A customer who has paid 4.00 for two uses beyond the plan."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500")
    wrong = [await use(customer, "100") for _ in range(2)]
    await customer.advance(to=RENEWAL)
    return customer, wrong


async def dispute(customer: Customer) -> str:
    """The bank asks for the account's last payment; the dispute's id at the provider."""
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments WHERE account_id = %(me)s"
        " ORDER BY created_at DESC LIMIT 1"
    )
    opened = await customer.actors.sandbox.dispute(payment["intent"])
    await disputed(customer.actors, customer, "open")
    return str(opened.body["id"])


@pytest.mark.parametrize(("outcome", "back"), [("won", 200), ("lost", 0)])
async def test_a_use_whose_money_a_bank_disputes_is_taken_back_once_that_is_decided(
    actors: Actors, outcome: str, back: int
) -> None:
    customer, (wrong, _) = await billed(actors)
    opened = await dispute(customer)
    path = f"/billing/records/{wrong['billing_id']}"
    refused = await actors.operate("POST", f"{path}/void", WHY, status=409)
    assert refused["code"] == "PAYMENT_PENDING"
    assert (await customer.ask("GET", path))["billing_status"] == "completed"
    await actors.sandbox.finish_dispute(opened, outcome)
    await disputed(actors, customer, outcome)
    done = await void(actors, wrong)
    assert (done["balance_cents"], done["billing_status"]) == (back, "refunded")
    await check_books(customer)


async def test_a_use_that_was_taken_back_before_a_dispute_answers_the_same_during_it(
    actors: Actors,
) -> None:
    customer, (wrong, _) = await billed(actors)
    done = await void(actors, wrong)
    assert done["balance_cents"] == 200
    await dispute(customer)
    assert await void(actors, wrong) == done
