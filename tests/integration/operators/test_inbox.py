"""Events that came in stay inspectable, and may be looked into again without harm [N6]."""

import json
import time
from uuid import uuid4

import pytest

from sandbox.webhooks import signature
from tests.integration.actors import API, Actors, Customer, Json, wait_for


async def events(customer: Customer) -> list[Json]:
    """The account's events, newest first."""
    listed = await customer.actors.operate(
        "GET", f"/admin/webhooks?account_id={customer.id}&limit=100", status=200
    )
    found: list[Json] = listed["data"]
    return found


async def paid(customer: Customer) -> Json:
    """The event that a purchase was paid, once it is handled."""
    await customer.bought()

    async def succeeded() -> list[Json]:
        return [
            one
            for one in await events(customer)
            if one["type"] == "payment_intent.succeeded" and one["status"] == "handled"
        ]

    return (await wait_for(succeeded, "the event is handled"))[0]


async def replay(actors: Actors, name: str, status: int) -> Json:
    return await actors.operate("POST", f"/admin/webhooks/{name}/replay", status=status)


async def test_an_event_shows_what_became_of_it(customer: Customer) -> None:
    event = await paid(customer)
    assert event["workflow_id"].startswith("purchase/")
    assert (event["source"], event["replays"], event["error"]) == ("webhook", 0, None)
    assert event["object_id"].startswith("pi_")
    ignored = [one for one in await events(customer) if one["status"] == "ignored"]
    assert all(one["type"] != "payment_intent.succeeded" for one in ignored)


async def test_a_replayed_event_is_looked_into_and_changes_nothing_twice(
    actors: Actors, customer: Customer
) -> None:
    event = await paid(customer)
    for number in (1, 2, 3):
        again = await replay(actors, event["event_id"], 200)
        assert (again["status"], again["replays"]) == ("handled", number)
    assert await customer.credits() == 100
    assert len(await customer.grants()) == 1
    audited = await customer.rows(
        "SELECT actor, subject FROM billing_audit WHERE account_id = %(me)s"
        " AND action = 'webhook.replayed'"
    )
    assert [row["subject"] for row in audited] == [event["event_id"]] * 3
    assert audited[0]["actor"].startswith("admin:")
    [matter] = await customer.rows(
        "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'purchase'"
    )
    assert matter["status"] == "closed"


async def test_an_event_about_a_subscription_can_be_replayed_too(
    actors: Actors, customer: Customer
) -> None:
    await customer.subscribed("basic")

    async def handled() -> list[Json]:
        return [one for one in await events(customer) if one["status"] == "handled"]

    [event, *_] = await wait_for(handled, "an event is handled")
    assert event["workflow_id"].startswith("subscription/")
    for number in (1, 2):
        again = await replay(actors, event["event_id"], 200)
        assert (again["status"], again["replays"]) == ("handled", number)
    assert (await customer.subscription())["status"] == "active"


async def test_a_parked_event_finds_its_owner_when_it_is_replayed(
    actors: Actors, customer: Customer
) -> None:
    event = await paid(customer)
    await customer.rows(
        "UPDATE stripe_webhook_events SET status = 'parked', workflow_id = NULL,"
        " account_id = NULL, error = 'no owner within 24 h' WHERE stripe_event_id = %(id)s",
        id=event["event_id"],
    )
    again = await replay(actors, event["event_id"], 200)
    assert (again["status"], again["error"]) == ("handled", None)
    assert again["workflow_id"] == event["workflow_id"]


@pytest.mark.parametrize("kind", ["payment_intent.succeeded", "customer.updated"])
async def test_an_event_that_is_nobodys_stays_where_it_is(actors: Actors, kind: str) -> None:
    subject = {"id": "pi_of_somebody_else", "object": "payment_intent", "metadata": {}}
    sent = await actors.sandbox.emit(kind, subject)

    async def stored() -> list[Json]:
        return await actors.sql(
            "SELECT status FROM stripe_webhook_events WHERE stripe_event_id = %(id)s",
            id=sent["id"],
        )

    [row] = await wait_for(stored, "it is stored")
    refused = await replay(actors, sent["id"], 409)
    assert refused["code"] == "WEBHOOK_UNMATCHED"
    assert await stored() == [row], "refused, and nothing changed"


async def test_an_event_that_is_nobodys_is_dismissed_with_a_reason(
    actors: Actors, customer: Customer
) -> None:
    event = await paid(customer)
    path = f"/admin/webhooks/{event['event_id']}/dismiss"
    refused = await actors.operate("POST", path, {"reason": "not ours"}, status=409)
    assert refused["code"] == "WEBHOOK_HAS_OWNER"
    await customer.rows(
        "UPDATE stripe_webhook_events SET status = 'parked' WHERE stripe_event_id = %(id)s",
        id=event["event_id"],
    )
    gone = await actors.operate("POST", path, {"reason": "of the old shop"}, status=200)
    assert (gone["status"], gone["error"]) == ("ignored", "of the old shop")
    await actors.operate("POST", path, {"reason": "twice"}, status=409)
    asked = f"/admin/audit?action=webhook.dismissed&subject={event['event_id']}"
    (noted,) = (await actors.operate("GET", asked))["data"]
    assert noted["detail"] == {"reason": "of the old shop"}
    assert (await replay(actors, event["event_id"], 200))["status"] == "handled", "found again"


async def test_an_unknown_event_is_not_found(actors: Actors) -> None:
    assert (await replay(actors, "evt_unknown", 404))["code"] == "WEBHOOK_NOT_FOUND"


async def test_the_list_is_cut_by_status(actors: Actors, customer: Customer) -> None:
    await paid(customer)
    for status in ("handled", "ignored"):
        listed = await actors.operate(
            "GET", f"/admin/webhooks?status={status}&account_id={customer.id}"
        )
        assert {one["status"] for one in listed["data"]} <= {status}
    refused = await actors.operate("GET", "/admin/webhooks?status=lost", status=422)
    assert refused["code"] == "VALIDATION_FAILED"


async def told(actors: Actors, kind: str, subject: Json) -> Json:
    """The row of an event that Stripe has sent."""
    name = f"evt_{uuid4().hex}"
    event = {"id": name, "type": kind, "created": int(time.time()), "data": {"object": subject}}
    body = json.dumps(event).encode()
    signed = signature(body.decode(), actors.stack.stripe_webhook_secret, int(time.time()))
    headers = {"Stripe-Signature": signed, "Content-Type": "application/json"}
    answer = await actors.client.post(f"{API}/webhooks/stripe", content=body, headers=headers)
    assert answer.status_code == 200
    (kept,) = await actors.sql(
        "SELECT status, workflow_id FROM stripe_webhook_events WHERE stripe_event_id = %(id)s",
        id=name,
    )
    return kept


async def test_what_a_browser_writes_on_a_card_names_no_matter(
    actors: Actors, customer: Customer
) -> None:
    await customer.ask("POST", "/billing/trials", status=201)
    card = {
        "id": f"pm_{uuid4().hex}", "object": "payment_method",
        "customer": f"cus_{uuid4().hex}", "metadata": {"matter": f"trial/{customer.id}"},
    }  # fmt: skip
    attached = await told(actors, "payment_method.attached", card)
    assert attached == {"status": "ignored", "workflow_id": None}
    changed = await told(actors, "payment_method.updated", card)
    assert changed == {"status": "ignored", "workflow_id": None}


@pytest.mark.parametrize("kind", ["succeeded", "setup_failed", "canceled"])
async def test_a_setup_that_is_not_ours_waits_for_no_owner(
    actors: Actors, customer: Customer, kind: str
) -> None:
    own = f"cus_{customer.uuid.hex}"
    await customer.rows(
        "UPDATE accounts SET stripe_customer_id = %(own)s WHERE id = %(me)s", own=own
    )
    setup = {"id": f"seti_{uuid4().hex}", "object": "setup_intent", "customer": own, "metadata": {}}
    kept = await told(actors, f"setup_intent.{kind}", setup)
    assert kept == {"status": "ignored", "workflow_id": None}
    lost = setup | {"id": f"seti_{uuid4().hex}", "metadata": {"matter": "account/acc_unknown"}}
    kept = await told(actors, f"setup_intent.{kind}", lost)
    assert kept == {"status": "unmatched", "workflow_id": None}, "ours may find its matter later"


async def test_an_intent_names_only_a_matter_that_hears_events_and_whose_customer_it_is_of(
    actors: Actors, customer: Customer
) -> None:
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.rows(
        "UPDATE accounts SET stripe_customer_id = %(own)s WHERE id = %(me)s",
        own=f"cus_{customer.uuid.hex}",
    )

    async def owner(matter: str, stripe_customer: str) -> str | None:
        subject = {
            "id": f"seti_{uuid4().hex}", "object": "setup_intent",
            "customer": stripe_customer, "metadata": {"matter": f"{matter}/{customer.id}"},
        }  # fmt: skip
        found: str | None = (await told(actors, "setup_intent.canceled", subject))["workflow_id"]
        return found

    assert await owner("account", f"cus_{customer.uuid.hex}") == f"account/{customer.id}"
    assert await owner("account", "cus_somebody_else") is None
    assert await owner("trial", f"cus_{customer.uuid.hex}") is None
