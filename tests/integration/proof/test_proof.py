"""A purchase can be proven: who asked, what ran, what was paid, told and granted, once."""

from hashlib import sha256

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.insight.proofs import rules, store
from billing.insight.proofs.schemas import Verdict
from tests.integration.actors import Actors, Customer, Json, intent_of, wait_for


async def prove(customer: Customer, purchase: Json) -> Json:
    return await customer.ask("GET", f"/billing/purchases/{purchase['purchase_id']}/proof")


async def test_a_bought_pack_is_proven_from_request_to_grant(customer: Customer) -> None:
    begun = await customer.buy("small", key="the-buyer's-key")
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    proof = await prove(customer, begun)

    assert (proof["consistent"], proof["verdict"]) == (True, "paid once, granted once")
    assert all(check["ok"] for check in proof["checks"])
    assert len(proof["checks"]) == 9, "Temporal's word is one of them"

    request = proof["request"]
    assert request["idempotency_key_hash"] == sha256(b"the-buyer's-key").hexdigest()
    assert request["actor"].startswith("billing:somebody-")
    assert request["correlation_id"]
    assert request["real_asked_at"] is not None

    workflow = proof["workflow"]
    assert workflow["matter"]["workflow_id"] == f"purchase/{begun['purchase_id']}"
    assert workflow["temporal"]["available"]
    assert len(workflow["temporal"]["runs"]) == 1
    assert [step["result"] for step in workflow["steps"]][-1] == "succeeded"

    (payment,) = proof["payments"]
    assert payment["provider_intent"] == intent_of(begun)
    assert (payment["received_cents"], payment["status"]) == (999, "succeeded")
    (invoice,) = proof["invoices"]
    assert invoice["number"].startswith("INV")
    (grant,) = proof["grants"]
    assert (grant["credits"], grant["key"]) == ("100.00", f"{begun['purchase_id']}/grant")
    assert grant["transaction_id"].startswith("ctx_")
    assert (proof["kept_cents"], proof["published"]) == (0, 1)


async def test_repeated_webhooks_are_counted_and_change_nothing(customer: Customer) -> None:
    sandbox = customer.actors.sandbox
    plan = await sandbox.webhooks("duplicate", copies=4, metadata={"account": customer.id})
    begun = await customer.buy("small")
    await customer.pay(begun)

    async def all_came() -> Json | None:
        proof = await prove(customer, begun)
        most = max((one["deliveries"] for one in proof["webhooks"]), default=0)
        return proof if most >= 5 and proof["status"] == "completed" else None

    proof = await wait_for(all_came, "all copies are delivered") or {}
    await sandbox.clear("webhooks", plan)
    assert proof["consistent"], proof["checks"]
    assert len(proof["grants"]) == 1
    assert {one["status"] for one in proof["webhooks"]} <= {"handled", "ignored"}


async def test_a_purchase_without_money_is_proven_to_have_granted_nothing(
    customer: Customer,
) -> None:
    waiting = await customer.buy("small")
    proof = await prove(customer, waiting)
    assert proof["consistent"]
    assert proof["verdict"].startswith("not paid when the provider was last asked (20")
    assert proof["grants"] == []
    assert proof["workflow"]["temporal"]["runs"][0]["status"] == "running"


async def test_a_declined_card_leaves_a_proof_of_its_try(customer: Customer) -> None:
    await customer.save_card()
    await customer.script("insufficient_funds")
    refused = await customer.refused(
        "CARD_DECLINED", "POST", "/billing/purchases",
        {"pack": "small", "payment_method": "saved_card"}, key="declined",
    )  # fmt: skip
    proof = await prove(customer, refused)
    assert (proof["consistent"], proof["verdict"]) == (True, "failed: nothing granted")
    (payment,) = proof["payments"]
    (attempt,) = payment["attempts"]
    assert (attempt["status"], attempt["decline_code"]) == ("declined", "insufficient_funds")


async def test_an_expired_purchase_is_proven_unpaid(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    await customer.advance(days=2)
    proof = await prove(customer, begun)
    assert (proof["consistent"], proof["verdict"]) == (True, "expired: nothing granted")
    assert [invoice["status"] for invoice in proof["invoices"]] == ["void"]


@pytest.fixture(scope="module")
async def bought(actors: Actors) -> str:
    """A purchase that was paid and granted."""
    purchase: str = (await (await actors.customer()).bought("small"))["purchase_id"]
    return purchase


DAMAGE = {
    "one_grant": "DELETE FROM credit_lots WHERE grant_key = :purchase || '/grant'",
    "credits_as_sold": "UPDATE purchases SET credits = credits + 1 WHERE id = :id",
    "one_ledger_entry": "UPDATE credit_transactions SET amount = amount + 1"
    " WHERE key = :purchase || '/grant'",
    "paid_before_granted": "UPDATE payments SET received_minor = received_minor - 1"
    " WHERE workflow_id = 'purchase/' || :purchase",
    "money_booked_once": "UPDATE invoices SET amount_paid_minor = amount_paid_minor - 1"
    " WHERE purchase_id = :id",
    "one_numbered_invoice": "UPDATE invoices SET status = 'open' WHERE purchase_id = :id",
    "webhooks_handled": "UPDATE stripe_webhook_events SET status = 'received'"
    " WHERE workflow_id = 'purchase/' || :purchase AND status = 'handled'",
    "published_once": "DELETE FROM events WHERE type = 'evt.billing.credits.purchased'"
    " AND data ->> 'purchase_id' = :purchase",
    "workflow_alive": "UPDATE matters SET closed_at = NULL"
    " WHERE workflow_id = 'purchase/' || :purchase",
}


async def verdict(connection: AsyncConnection, purchase: str) -> Verdict:
    facts = await store.facts(connection, ids.decode(ids.PURCHASE, purchase))
    return rules.judge(facts, running=False)


@pytest.mark.parametrize("name", DAMAGE)
async def test_each_check_of_a_proof_can_fail(
    bought: str, superuser: AsyncConnection, name: str
) -> None:
    before = await verdict(superuser, bought)
    assert before.consistent
    assert {check.name for check in before.checks} == set(DAMAGE)
    values = {"purchase": bought, "id": ids.decode(ids.PURCHASE, bought)}
    statement = text(DAMAGE[name])
    wanted = {key: values[key] for key in statement.compile().params}
    await superuser.execute(statement, wanted)
    after = await verdict(superuser, bought)
    assert not after.consistent
    assert name in {check.name for check in after.checks if not check.ok}
    assert after.sentence.startswith("not so: ")


async def test_a_foreign_purchase_cannot_be_proven(actors: Actors, customer: Customer) -> None:
    other = await (await actors.customer()).buy("small")
    await customer.refused(
        "PURCHASE_NOT_FOUND", "GET", f"/billing/purchases/{other['purchase_id']}/proof"
    )
