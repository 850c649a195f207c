"""A purchase survives webhooks that come twice, late or never, and the end of its time."""

import pytest

from tests.integration.actors import Actors, Customer, intent_of, wait_for
from tests.integration.money_seen import money
from tests.integration.workflows.test_purchases import proven_once


async def cancellations(customer: Customer) -> list[int]:
    """The answers to every request to cancel an intent of this account."""
    name = "POST /v1/payment_intents/{intent}/cancel"
    return [request["status"] for request in await customer.requests(name)]


async def test_an_event_delivered_five_times_counts_once(customer: Customer) -> None:
    plan = await customer.actors.sandbox.webhooks(
        "duplicate", metadata={"account": customer.id}, copies=4
    )
    begun = await customer.buy("small")
    await customer.pay(begun)
    await proven_once(customer, begun["purchase_id"])

    async def all_came() -> bool:
        rows = await customer.rows(
            "SELECT deliveries FROM stripe_webhook_events WHERE account_id = %(me)s"
            " AND type = 'payment_intent.succeeded'"
        )
        return [row["deliveries"] for row in rows] == [5]

    await wait_for(all_came, "five deliveries are counted on one row")
    await customer.actors.sandbox.clear("webhooks", plan)
    await proven_once(customer, begun["purchase_id"])


async def test_a_lost_webhook_is_found_by_asking_in_time(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    async with customer.unheard():
        await customer.pay(begun)
        assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
        await customer.advance(to="2027-01-01T10:00:59Z")
        assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
        await customer.advance(to="2027-01-01T10:01:00Z")
        await proven_once(customer, begun["purchase_id"])
    assert (await customer.steps())["check-1"] == "succeeded"


@pytest.mark.slow
async def test_a_lost_webhook_is_found_among_the_providers_events(customer: Customer) -> None:
    drop = await customer.actors.sandbox.webhooks("drop", metadata={"account": customer.id})
    begun = await customer.buy("small")
    await customer.pay(begun)
    # Until the next look at the provider's events, behind what all other tests make there.
    await customer.until_purchase(begun["purchase_id"], "completed", patience=120)
    await proven_once(customer, begun["purchase_id"])
    # On a busy stack the purchase's own look may come first; the poll still finds what was lost.
    found = await wait_for(
        lambda: customer.rows(
            "SELECT DISTINCT source FROM stripe_webhook_events WHERE account_id = %(me)s"
        ),
        "the poll finds the lost events",
        patience=120,
    )
    await customer.actors.sandbox.clear("webhooks", drop)
    assert [row["source"] for row in found] == ["poll"]


async def test_the_provider_is_asked_at_one_minute_ten_minutes_and_an_hour(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    await customer.advance(days=1)
    asked = await customer.rows(
        "SELECT to_char(due_at AT TIME ZONE 'UTC', 'DD HH24:MI') AS due, key FROM steps"
        " WHERE account_id = %(me)s AND name <> 'open' AND key NOT LIKE '%%/evt_%%' ORDER BY due_at"
    )
    assert [(row["due"], row["key"].rpartition("/")[2]) for row in asked] == [
        ("01 10:01", "check-1"),
        ("01 10:10", "check-2"),
        ("01 11:00", "check-3"),
        ("02 09:55", "check-4"),
        ("02 10:00", "expire"),
    ]
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"


async def test_expiry_cancels_at_the_provider_before_it_says_so(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    await customer.advance(days=1)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert await cancellations(customer) == [200]
    assert (await customer.published()).count("evt.billing.purchase.expired") == 1
    assert (await customer.confirm(begun)).status == 400, "nobody can pay it any more"
    assert await customer.effects() == []
    (invoice,) = await customer.invoices()
    assert (invoice["status"], invoice["number"]) == ("void", None)
    assert await customer.grants() == []


async def test_a_payment_made_in_the_last_minute_beats_the_expiry(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    await customer.advance(to="2027-01-02T09:59:00Z")
    async with customer.unheard():
        await customer.pay(begun)
        await customer.advance(to="2027-01-02T10:00:00Z")
        await proven_once(customer, begun["purchase_id"])
    assert await cancellations(customer) == [400], "Stripe was asked to cancel and said: paid"
    assert (await customer.steps())["expire"] == "succeeded"


async def test_a_bank_that_is_still_processing_holds_the_expiry_back(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    await customer.script("processing")
    assert (await customer.confirm(begun)).body["status"] == "processing"
    await customer.advance(days=3)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    await customer.actors.sandbox.settle(intent_of(begun))
    await proven_once(customer, begun["purchase_id"])


async def test_money_that_comes_after_the_end_is_granted_all_the_same(customer: Customer) -> None:
    begun = await customer.buy("small")
    purchase_id = begun["purchase_id"]
    await customer.restored_as_expired(purchase_id)

    await customer.pay(begun)

    await proven_once(customer, purchase_id)
    assert [invoice["status"] for invoice in await customer.invoices()] == ["void", "paid"]
    assert await customer.credits() == 100


async def test_late_money_that_the_balance_no_longer_completes_is_kept(customer: Customer) -> None:
    path = f"/api/v1/admin/accounts/{customer.id}/balance/adjust"
    body, headers = {"amount_cents": 400, "reason": "test"}, customer.actors.headers("*", "admin")
    headers["Idempotency-Key"] = "adjust"
    answer = await customer.actors.client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    begun = await customer.buy("small")
    await customer.restored_as_expired(begun["purchase_id"])  # its 400 are not on the balance

    await customer.pay(begun)

    found = await wait_for(
        lambda: customer.rows("SELECT * FROM payments WHERE account_id = %(me)s"),
        "the money is booked",
        lambda rows: rows[0]["settled_at"],
    )
    assert [one["received_minor"] for one in found] == [599]
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert [invoice["status"] for invoice in await customer.invoices()] == ["void"]
    assert await money(customer) == 599
    assert "evt.billing.payment.kept" in await customer.published()


async def test_a_transfer_that_never_comes_expires_after_two_weeks(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "manual")
    assert begun["next_action"]["type"] == "manual"
    await customer.advance(days=13)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    await customer.advance(days=1)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert [invoice["number"] for invoice in await customer.invoices()] == [None]
