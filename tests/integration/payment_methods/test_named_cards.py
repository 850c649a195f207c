"""The card that a subscription names is the one it is charged to."""

from tests.integration.actors import Actors, Customer, Json

START = "2027-01-01T10:00:00Z"
CHOOSE = "/billing/subscription/payment-method"


async def two_cards(actors: Actors) -> tuple[Customer, Json, Json]:
    """A customer with a default card and another one."""
    customer = await actors.customer_on_clock(START)
    default = await customer.save_card()
    other = await customer.save_card("pm_card_mastercard")
    return customer, default, other


async def charged(customer: Customer) -> list[str]:
    """The brand of the card of each charge, in order."""
    rows = await customer.rows(
        "SELECT m.brand FROM payment_attempts t JOIN payment_methods m"
        " ON m.id = t.payment_method_id WHERE t.account_id = %(me)s ORDER BY t.real_started_at"
    )
    return [row["brand"] for row in rows]


async def test_a_card_named_at_subscribing_pays_the_first_period_and_all_after_it(
    actors: Actors,
) -> None:
    customer, default, other = await two_cards(actors)
    begun = await customer.subscribe("basic", payment_method_id=other["id"])
    assert (begun["status"], begun["payment_method_id"]) == ("active", other["id"])
    await customer.advance(days=32)
    assert await charged(customer) == ["mastercard", "mastercard"]
    back = await customer.ask("PUT", CHOOSE, {"payment_method_id": default["id"]})
    assert back["payment_method_id"] == default["id"]
    await customer.advance(days=28)
    assert await charged(customer) == ["mastercard", "mastercard", "visa"]


async def test_a_card_named_for_a_trial_pays_its_end(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("pro", trial=True, payment_method_id=other["id"])
    await customer.advance(days=15)
    assert await charged(customer) == ["mastercard"]


async def test_without_its_own_card_the_default_one_is_charged(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("basic", payment_method_id=other["id"])
    path = f"/billing/payment-methods/{other['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"})
    await customer.advance(days=32)
    assert await charged(customer) == ["mastercard", "visa"]


async def test_a_card_chosen_while_it_is_overdue_is_tried_at_once(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("basic")
    await customer.script("insufficient_funds")
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.ask("PUT", CHOOSE, {"payment_method_id": other["id"]})
    await customer.until_subscription("active")
    assert await charged(customer) == ["visa", "visa", "mastercard"]


async def test_a_card_of_nobody_is_refused(actors: Actors) -> None:
    customer, _, _ = await two_cards(actors)
    await customer.subscribe("basic")
    stranger = {"payment_method_id": "mth_00000000000000000000000000"}
    await customer.refused("PAYMENT_METHOD_NOT_FOUND", "PUT", CHOOSE, stranger)


async def test_the_default_card_that_is_removed_hands_over_to_the_newest_other_one(
    actors: Actors,
) -> None:
    customer, default, _ = await two_cards(actors)
    await customer.subscribe("basic")
    path = f"/billing/payment-methods/{default['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"})
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "active"
    assert await charged(customer) == ["visa", "mastercard"]
