"""What becomes of a purchase when webhooks come twice, late or never, and when its time is up."""

import pytest

from tests.integration.actors import Actors, Merchant, intent_of, wait_for
from tests.integration.workflows.test_purchases import proven_once


async def cancellations(merchant: Merchant) -> list[int]:
    """The answers to every request to cancel an intent of this account."""
    name = "POST /v1/payment_intents/{intent}/cancel"
    return [request["status"] for request in await merchant.requests(name)]


async def test_an_event_delivered_five_times_counts_once(merchant: Merchant) -> None:
    plan = await merchant.actors.sandbox.webhooks(
        "duplicate", metadata={"account": merchant.id}, copies=4
    )
    begun = await merchant.buy("small")
    await merchant.pay(begun)
    await proven_once(merchant, begun["purchase_id"])

    async def all_came() -> bool:
        rows = await merchant.rows(
            "SELECT deliveries FROM stripe_webhook_events WHERE account_id = %(me)s"
            " AND type = 'payment_intent.succeeded'"
        )
        return [row["deliveries"] for row in rows] == [5]

    await wait_for(all_came, "five deliveries are counted on one row")
    await merchant.actors.sandbox.clear("webhooks", plan)
    await proven_once(merchant, begun["purchase_id"])


async def test_a_lost_webhook_is_found_by_asking_in_time(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock()
    begun = await merchant.buy("small")
    async with merchant.unheard():
        await merchant.pay(begun)
        assert (await merchant.purchase(begun["purchase_id"]))["status"] == "pending"
        await merchant.advance(to="2027-01-01T10:00:59Z")
        assert (await merchant.purchase(begun["purchase_id"]))["status"] == "pending"
        await merchant.advance(to="2027-01-01T10:01:00Z")
        await proven_once(merchant, begun["purchase_id"])
    assert (await merchant.steps())["check-1"] == "succeeded"


@pytest.mark.slow
async def test_a_lost_webhook_is_found_among_the_providers_events(merchant: Merchant) -> None:
    drop = await merchant.actors.sandbox.webhooks("drop", metadata={"account": merchant.id})
    begun = await merchant.buy("small")
    await merchant.pay(begun)
    await proven_once(merchant, begun["purchase_id"])
    await merchant.actors.sandbox.clear("webhooks", drop)
    found = await merchant.rows(
        "SELECT DISTINCT source FROM stripe_webhook_events WHERE account_id = %(me)s"
    )
    assert [row["source"] for row in found] == ["poll"]


async def test_the_provider_is_asked_at_one_minute_ten_minutes_and_an_hour(
    actors: Actors,
) -> None:
    merchant = await actors.merchant_on_clock()
    begun = await merchant.buy("small")
    await merchant.advance(days=1)
    asked = await merchant.rows(
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
    assert (await merchant.purchase(begun["purchase_id"]))["status"] == "expired"


async def test_expiry_cancels_at_the_provider_before_it_says_so(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock()
    begun = await merchant.buy("small")
    await merchant.advance(days=1)
    assert (await merchant.purchase(begun["purchase_id"]))["status"] == "expired"
    assert await cancellations(merchant) == [200]
    assert (await merchant.confirm(begun)).status == 400, "nobody can pay it any more"
    assert await merchant.effects() == []
    (invoice,) = await merchant.invoices()
    assert (invoice["status"], invoice["number"]) == ("void", None)
    assert await merchant.grants() == []


async def test_a_payment_made_in_the_last_minute_beats_the_expiry(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock()
    begun = await merchant.buy("small")
    await merchant.advance(to="2027-01-02T09:59:00Z")
    async with merchant.unheard():
        await merchant.pay(begun)
        await merchant.advance(to="2027-01-02T10:00:00Z")
        await proven_once(merchant, begun["purchase_id"])
    assert await cancellations(merchant) == [400], "Stripe was asked to cancel and said: paid"
    assert (await merchant.steps())["expire"] == "succeeded"


async def test_a_bank_that_is_still_processing_holds_the_expiry_back(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock()
    begun = await merchant.buy("small")
    await merchant.script("processing")
    assert (await merchant.confirm(begun)).body["status"] == "processing"
    await merchant.advance(days=3)
    assert (await merchant.purchase(begun["purchase_id"]))["status"] == "pending"
    await merchant.actors.sandbox.settle(intent_of(begun))
    await proven_once(merchant, begun["purchase_id"])


async def test_money_that_comes_after_the_end_is_granted_all_the_same(merchant: Merchant) -> None:
    begun = await merchant.buy("small")
    purchase_id = begun["purchase_id"]
    await merchant.restored_as_expired(purchase_id)

    await merchant.pay(begun)

    await proven_once(merchant, purchase_id)
    assert [invoice["status"] for invoice in await merchant.invoices()] == ["void", "paid"]
    assert await merchant.credits() == 100


async def test_a_transfer_that_never_comes_expires_after_two_weeks(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock()
    begun = await merchant.buy("small", "manual")
    assert begun["next_action"]["type"] == "manual"
    await merchant.advance(days=13)
    assert (await merchant.purchase(begun["purchase_id"]))["status"] == "pending"
    await merchant.advance(days=1)
    assert (await merchant.purchase(begun["purchase_id"]))["status"] == "expired"
    assert [invoice["number"] for invoice in await merchant.invoices()] == [None]
