"""The backup card pays a renewal that the bank of the charged card has refused for good."""

from tests.integration.actors import Actors, Customer, Json
from tests.integration.dunning.dunning_setup import (
    RENEWAL,
    START,
    attempts,
    overdue,
    until_tried,
)


async def with_backup(customer: Customer) -> Json:
    card = await customer.save_card("pm_card_mastercard")
    marked = await customer.ask("POST", f"/billing/payment-methods/{card['id']}/backup", status=200)
    assert (marked["is_backup"], marked["is_default"]) == (True, False)
    return card


async def test_the_backup_card_pays_at_once_after_a_hard_decline(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    card = await with_backup(customer)
    await customer.script("expired_card", "succeed")
    await customer.advance(to=RENEWAL)
    assert (await customer.subscription())["status"] == "active"
    assert await attempts(customer) == [
        ("attempt-0", "declined"),
        (f"backup-{card['id']}", "succeeded"),
    ]
    paid = (await customer.ask("GET", "/billing/payments"))["data"]
    assert card["id"] in [one["payment_method_id"] for one in paid if one["status"] == "succeeded"]
    path = f"/billing/payment-methods/{card['id']}"
    shown = await customer.ask("GET", path)
    assert (shown["is_backup"], shown["is_default"]) == (True, False), "it stays the backup"


async def test_a_soft_decline_leaves_the_backup_alone(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await with_backup(customer)
    await customer.script("insufficient_funds", "succeed")
    await customer.advance(to="2027-02-04T10:00:00Z")
    assert await attempts(customer) == [("attempt-0", "declined"), ("attempt-1", "succeeded")]


async def test_a_backup_that_is_marked_later_is_tried_at_once_and_then_in_the_slots(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "lost_card", "insufficient_funds", "succeed")
    assert await attempts(customer) == [("attempt-0", "declined")]
    card = await with_backup(customer)
    key = f"backup-{card['id']}"
    assert await until_tried(customer, 2) == [("attempt-0", "declined"), (key, "declined")]
    await customer.advance(to="2027-02-04T10:00:00Z")
    assert (await attempts(customer))[2:] == [("attempt-1", "succeeded")]
    rows = await customer.rows(
        "SELECT m.brand FROM payment_attempts a JOIN payment_methods m"
        " ON m.id = a.payment_method_id WHERE a.account_id = %(me)s AND a.slot = 1"
    )
    assert [row["brand"] for row in rows] == ["mastercard"]
    assert (await customer.subscription())["status"] == "active"
