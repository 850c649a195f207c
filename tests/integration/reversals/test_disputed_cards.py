"""A disputed card is not charged by itself: no top-up follows, and none at all after a fraud."""

from tests.integration.actors import Actors, Customer
from tests.integration.credits.test_top_ups import AUTO, spend, until, wants
from tests.integration.dunning.dunning_setup import RENEWAL, START
from tests.integration.operator_acts import give
from tests.integration.payment_methods.conftest import METHODS
from tests.integration.payments.test_card_rules import PACK, PURCHASES, declined, tries
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import paid_for


async def dispute(customer: Customer, reason: str = "fraudulent") -> str:
    """The newest payment's bank asks its money back; the provider's id of that."""
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    opened = await customer.actors.sandbox.dispute(intent, reason)
    await disputed(customer.actors, customer, "open")
    return str(opened.body["id"])


async def test_top_ups_stop_with_a_dispute_until_they_are_switched_on_again(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await give(customer, "30")
    await wants(customer)
    await spend(customer, "21")
    await until(customer, "completed")

    opened = await dispute(customer, "product_not_received")

    await until_credits(customer, "9")
    await spend(customer, "1")
    await until(customer, "completed")
    assert (await customer.ask("GET", AUTO))["stopped_at"] is not None
    path = "/billing/events?type=evt.billing.top_up.stopped"
    [told] = (await customer.ask("GET", path))["data"]
    assert told["data"] == {
        "top_up_id": None, "pack": "small", "purchase_id": None, "amount_cents": None,
        "currency": None, "reason": "disputed: product_not_received", "failures": 0,
    }  # fmt: skip
    assert await tries(customer) == 1

    await wants(customer)

    await until(customer, "completed", "completed")
    await until_credits(customer, "108")
    assert (await customer.ask("GET", AUTO))["stopped_at"] is None

    await actors.sandbox.finish_dispute(opened, "lost")

    await disputed(actors, customer, "lost")
    assert (await customer.ask("GET", AUTO))["stopped_at"] is not None, "the bank keeps its money"


async def test_a_card_of_a_fraud_is_not_charged_again_unless_the_dispute_is_won(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.buy("small", "saved_card")
    opened = await dispute(customer)

    refused = await declined(customer, PURCHASES, PACK)

    assert (refused["decline_code"], await tries(customer)) == ("card_barred", 1)
    assert (await customer.published()).count("evt.billing.payment_method.barred") == 1
    await actors.sandbox.finish_dispute(opened, "won")
    await disputed(actors, customer, "won")
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"
    await until_credits(customer, "200")
    assert (await customer.published()).count("evt.billing.payment_method.updated") == 1, "freed"


async def test_a_card_of_a_fraud_that_is_removed_and_saved_again_is_the_same_card(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.buy("small", "saved_card")
    opened = await dispute(customer)
    [card] = (await customer.ask("GET", METHODS))["data"]
    await customer.ask("DELETE", f"{METHODS}/{card['id']}", {"confirm": "DELETE"}, status=200)
    await customer.save_card()

    refused = await declined(customer, PURCHASES, PACK)

    assert (refused["decline_code"], await tries(customer)) == ("card_barred", 1)
    await actors.sandbox.finish_dispute(opened, "won")
    await disputed(actors, customer, "won")
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"
    [now] = (await customer.ask("GET", METHODS))["data"]
    await customer.ask("DELETE", f"{METHODS}/{now['id']}", {"confirm": "DELETE"}, status=200)
    await customer.save_card()
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"


async def test_a_card_stays_barred_while_one_of_its_frauds_is_not_won(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await customer.buy("small", "saved_card")
    first = await paid_for(customer)
    await customer.buy("small", "saved_card")
    opened = await dispute(customer)
    other = await actors.sandbox.dispute(first["stripe_payment_intent_id"])
    await until_credits(customer, "0")
    for reference, ends in ((opened, "won"), (other.body["id"], "lost")):
        await actors.sandbox.finish_dispute(str(reference), ends)
    await until_credits(customer, "100")

    refused = await declined(customer, PURCHASES, PACK)

    assert (refused["decline_code"], await tries(customer)) == ("card_barred", 2)


async def test_a_renewal_leaves_a_card_of_a_fraud_and_takes_the_next_one(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await dispute(customer)

    await customer.advance(to=RENEWAL)

    assert (await customer.subscription())["status"] == "past_due"
    assert await tries(customer) == 1

    await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    await customer.until_subscription("active")
    assert await tries(customer) == 2
