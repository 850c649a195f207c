"""Our rows and Stripe's objects, compared on demand: what differs, and what a run puts right."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from math import ceil
from typing import Any, Final
from uuid import uuid4

import pytest
import stripe

from billing.core import ids
from billing.core.clock import real_now
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for, refunded

PATH: Final = "/billing/reconcile"


async def reconcile(actors: Actors, *, key: str | None = None, **more: object) -> Json:
    """A run that has ended, of all objects but the newest, which may still be settled."""
    # A run ends a second ago, and at a whole one.
    now = real_now().timestamp()
    await asyncio.sleep(ceil(now) + 1.05 - now)
    body = {"acknowledge": True, "idempotency_key": key or str(uuid4())} | more
    return await ended(actors, await actors.operate("POST", PATH, body))


async def ended(actors: Actors, run: Json) -> Json:
    """The run once it has ended."""
    return await wait_for(
        lambda: actors.operate("GET", f"/admin/reconciliations/{run['run_id']}"),
        "the run ends",
        lambda seen: seen["finished_at"],
    )


def of(run: Json, customer: Customer) -> list[Json]:
    """The findings about one account, without what is another for each account."""
    left_out = ("account_id", "created_at", "payment_id", "stripe_id")
    return [
        {name: value for name, value in one.items() if name not in left_out}
        for one in run["discrepancies"]
        if one["account_id"] == customer.id
    ]


def side(amount: int, status: str) -> Json:
    """One side of a discrepancy."""
    return {"amount_cents": amount, "currency": "USD", "status": status}


@asynccontextmanager
async def altered(actors: Actors, payment: Json, column: str, value: object) -> AsyncIterator[None]:
    """Meanwhile a column of the payment's row has another value."""
    row = {"id": ids.decode(ids.PAYMENT, payment["payment_id"])}
    (before,) = await actors.sql(f"SELECT {column} AS was FROM payments WHERE id = %(id)s", **row)
    change = f"UPDATE payments SET {column} = %(value)s WHERE id = %(id)s"
    await actors.sql(change, value=value, **row)
    try:
        yield
    finally:
        await actors.sql(change, value=before["was"], **row)


@asynccontextmanager
async def deaf(customer: Customer, *types: str) -> AsyncIterator[None]:
    """Meanwhile no webhook of the account arrives, nor the next of these types, which name no
    account, and the poll has no answer.
    """
    sandbox = customer.actors.sandbox
    drop = await sandbox.webhooks("drop", customer=await customer.stripe_customer())
    for kind in types:
        await sandbox.webhooks("drop", types=[kind], times=1)
    async with customer.unheard():
        yield
    await sandbox.clear("webhooks", drop)


def taken_in_the_dashboard(actors: Actors, **more: Any) -> str:
    """An intent that a person made at Stripe and that is paid."""
    client = stripe.StripeClient(
        actors.stack.stripe_secret_key, base_addresses={"api": actors.stack.sandbox_url}
    )
    card: Any = {
        "amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }  # fmt: skip
    return client.v1.payment_intents.create(card | more).id


async def test_rows_and_objects_that_agree_differ_in_nothing(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    payment = await paid_for(customer)
    await refunded(customer, payment, 100)
    await customer.buy("small")
    run = await reconcile(actors)
    assert of(run, customer) == []
    assert (run["status"], run["error"], run["tolerance"]) == ("finished", None, "0")
    assert run["is_complete"]
    assert run["checked"]["payments"] >= 2
    assert run["checked"]["refunds"] >= 1
    listed = await actors.operate("GET", "/admin/reconciliations?limit=100")
    assert run["run_id"] in [one["run_id"] for one in listed["data"]]
    trail = await actors.operate("GET", f"/admin/audit?subject={run['run_id']}")
    assert [one["action"] for one in trail["data"]] == [
        "reconciliation.finished", "reconciliation.begun",
    ]  # fmt: skip


async def test_a_refund_in_the_dashboard_that_nobody_heard_of_is_found_and_healed(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    payment = await paid_for(customer)
    async with deaf(customer, "refund.created"):
        await actors.sandbox.refund(payment["stripe_payment_intent_id"], 333)
        found = {
            "kind": "missing_here", "object": "refund", "at_billing": None,
            "at_stripe": side(333, "succeeded"), "fix": "check_payment",
        }  # fmt: skip
        run = await reconcile(actors)
        assert of(run, customer) == [found | {"is_check_ordered": False}]
        assert await customer.rows("SELECT 1 FROM refunds WHERE account_id = %(me)s") == []
        run = await reconcile(actors, heal=True)
        assert of(run, customer) == [found | {"is_check_ordered": True}]
        await wait_for(
            lambda: customer.rows("SELECT amount_minor FROM refunds WHERE account_id = %(me)s"),
            "the refund is booked",
            lambda rows: rows == [{"amount_minor": 333}],
        )
        assert of(await reconcile(actors), customer) == []


async def test_a_payment_whose_webhook_was_lost_is_found_and_healed(
    actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small")
    async with customer.unheard():
        await customer.pay(begun)
        run = await reconcile(actors, heal=True)
        (found,) = of(run, customer)
        assert found == {
            "kind": "state_differs", "object": "payment", "at_billing": side(999, "unpaid"),
            "at_stripe": side(999, "paid"), "fix": "check_payment", "is_check_ordered": True,
        }  # fmt: skip
        await customer.until_purchase(begun["purchase_id"], "completed")
        assert of(await reconcile(actors), customer) == []


async def test_a_page_that_was_paid_unheard_is_found_and_healed(
    actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small", "checkout")
    (page,) = await customer.rows(
        "SELECT stripe_checkout_session_id AS id FROM payments WHERE account_id = %(me)s"
    )
    async with customer.unheard():
        assert (await actors.sandbox.pay_session(page["id"])).status == 200
        (found,) = of(await reconcile(actors, heal=True), customer)
        assert (found["kind"], found["is_check_ordered"]) == ("missing_here", True)
        await customer.until_purchase(begun["purchase_id"], "completed")
        assert of(await reconcile(actors), customer) == []


async def test_a_row_and_an_intent_without_each_other_are_both_found(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    payment = await paid_for(customer)
    gone = f"pi_gone{uuid4().hex}"
    async with altered(actors, payment, "stripe_payment_intent_id", gone):
        run = await reconcile(actors, heal=True)
    assert of(run, customer) == [
        {
            "kind": "missing_here", "object": "payment", "at_billing": None,
            "at_stripe": side(999, "paid"), "fix": None, "is_check_ordered": False,
        },
        {
            "kind": "missing_at_stripe", "object": "payment", "at_billing": side(999, "paid"),
            "at_stripe": None, "fix": None, "is_check_ordered": False,
        },
    ]  # fmt: skip


async def test_money_of_a_customer_without_our_metadata_is_found(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    taken_in_the_dashboard(actors, customer=await customer.stripe_customer())
    (found,) = of(await reconcile(actors), customer)
    assert (found["kind"], found["object"], found["fix"]) == ("missing_here", "payment", None)
    assert found["at_stripe"] == side(500, "paid")


async def test_money_that_a_person_has_booked_or_returned_is_found_no_more(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    payer = await customer.stripe_customer()
    booked, returned = [taken_in_the_dashboard(actors, customer=payer) for _ in range(2)]
    found = of(await reconcile(actors), customer)
    assert [one["kind"] for one in found] == ["missing_here", "missing_here"]
    await actors.sandbox.refund(returned, 500)
    async with altered(actors, await paid_for(customer), "transaction_reference", booked):
        assert of(await reconcile(actors), customer) == []


async def test_money_is_compared_exactly(actors: Actors, customer: Customer) -> None:
    await customer.bought("small")
    async with altered(actors, await paid_for(customer), "received_minor", 998):
        run = await reconcile(actors)
    (found,) = of(run, customer)
    assert (found["kind"], found["fix"]) == ("amount_differs", None)
    assert (found["at_billing"], found["at_stripe"]) == (side(998, "paid"), side(999, "paid"))


async def test_a_dispute_that_was_won_unheard_is_found_and_healed(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=333)
    await wait_for(
        lambda: customer.rows("SELECT 1 FROM disputes WHERE account_id = %(me)s"), "it is here"
    )
    async with deaf(customer, "charge.dispute.closed", "charge.dispute.funds_reinstated"):
        await actors.sandbox.finish_dispute(opened.body["id"], "won")
        (found,) = of(await reconcile(actors, heal=True), customer)
        assert (found["object"], found["kind"]) == ("dispute", "state_differs")
        assert (found["at_billing"]["status"], found["at_stripe"]["status"]) == ("open", "won")
        await wait_for(
            lambda: customer.rows("SELECT state FROM disputes WHERE account_id = %(me)s"),
            "the check records it",
            lambda rows: rows == [{"state": "won"}],
        )


async def test_disputes_that_stripe_ends_at_once_differ_in_nothing(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    for prevented, state in (("block", "closed"), ("resolution", "lost")):
        await actors.sandbox.dispute(intent, prevented=prevented)
        await disputed(actors, customer, state)
    run = await reconcile(actors)
    assert of(run, customer) == []
    assert run["checked"]["disputes"] >= 2


async def test_test_accounts_and_other_installations_are_left_out(
    actors: Actors, customer: Customer
) -> None:
    tester = await actors.customer_on_clock()
    await tester.bought("small")
    window = {"since_at": (real_now() - timedelta(seconds=5)).isoformat()}
    before = await reconcile(actors, **window)
    elsewhere = ids.encode(ids.ACCOUNT, ids.new())
    for metadata in ({}, {"account": elsewhere, "payment": ids.encode(ids.PAYMENT, ids.new())}):
        taken_in_the_dashboard(actors, metadata=metadata)
    taken_in_the_dashboard(actors, customer=await tester.stripe_customer())
    async with altered(actors, await paid_for(tester), "received_minor", 1):
        run = await reconcile(actors, **window)
    assert run["checked"]["foreign"] >= before["checked"]["foreign"] + 2
    assert of(run, tester) == []
    assert elsewhere not in [one["account_id"] for one in run["discrepancies"]]


@pytest.mark.parametrize("early", ["1900-01-01T00:00:00Z", "1970-01-05T00:00:00Z"])
@pytest.mark.parametrize("bound", ["since_at", "until_at"])
async def test_a_window_before_the_provider_is_refused(
    actors: Actors, bound: str, early: str
) -> None:
    body = {"acknowledge": True, "idempotency_key": str(uuid4()), bound: early}
    refused = await actors.operate("POST", PATH, body, status=422)
    assert refused["code"] == "VALIDATION_FAILED"
    assert refused["errors"] == [{"field": bound, "message": "must not be before 2010-01-01"}]


async def test_a_window_of_objects_that_may_still_change_is_refused(actors: Actors) -> None:
    since = (real_now() + timedelta(minutes=1)).isoformat()
    body = {"acknowledge": True, "idempotency_key": str(uuid4()), "since_at": since}
    refused = await actors.operate("POST", PATH, body, status=422)
    assert [one["field"] for one in refused["errors"]] == ["since_at"]


async def test_one_key_is_one_run(actors: Actors) -> None:
    key = str(uuid4())
    body = {"acknowledge": True}
    first, second = await asyncio.gather(
        actors.client.post("/api/v1/billing/reconcile", json=body,
                           headers=actors.headers("*", "admin", key)),
        actors.client.post("/api/v1/admin/reconcile", json=body,
                           headers=actors.headers("*", "admin", key)),
    )  # fmt: skip
    answers = [one for one in (first, second) if one.status_code == 200]
    assert answers
    again = await actors.operate("POST", PATH, body, key=key)
    assert {one.json()["run_id"] for one in answers} == {again["run_id"]}
    refused = await actors.operate("POST", PATH, {**body, "heal": True}, key=key, status=422)
    assert refused["code"] == "IDEMPOTENCY_KEY_REUSED"


async def test_a_run_is_for_an_admin_who_acknowledges_it(
    actors: Actors, customer: Customer
) -> None:
    refused = await actors.operate("POST", PATH, {"idempotency_key": "k"}, status=400)
    assert refused["code"] == "ACKNOWLEDGEMENT_REQUIRED"
    refused = await actors.operate("POST", PATH, {"acknowledge": True}, status=400)
    assert refused["code"] == "IDEMPOTENCY_KEY_REQUIRED"
    answer = await customer.call("POST", PATH, {"acknowledge": True}, key="k")
    assert answer.status_code == 403
    unknown = ids.encode(ids.RECONCILIATION, ids.new())
    refused = await actors.operate("GET", f"/admin/reconciliations/{unknown}", status=404)
    assert refused["code"] == "RECONCILIATION_NOT_FOUND"


async def test_a_run_waits_while_stripe_is_away_and_says_so(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    away = await actors.sandbox.fault(
        "error_500_unstored", method="GET", path="/v1/disputes", times=None
    )
    try:
        body = {"acknowledge": True, "idempotency_key": str(uuid4())}
        run = await actors.operate("POST", PATH, body, status=202)
        assert run["status"] == "running"
        assert "PROVIDER" in run["error"]
        assert run["checked"]["payments"] >= 1, "what it has read is kept"
    finally:
        await actors.sandbox.clear("faults", away)
    run = await ended(actors, run)
    assert (run["status"], run["error"]) == ("finished", None)
    again = await actors.operate("POST", PATH, body, status=200)
    assert again["run_id"] == run["run_id"]
    trail = await actors.operate("GET", f"/admin/audit?subject={run['run_id']}")
    assert [one["action"] for one in trail["data"]] == [
        "reconciliation.finished", "reconciliation.delayed", "reconciliation.begun",
    ]  # fmt: skip
