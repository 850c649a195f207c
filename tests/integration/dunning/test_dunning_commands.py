"""Operators steer a case: the same five orders over the API and as updates from the Temporal UI."""

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import WorkflowUpdateFailedError

from api.routes.admin import dunning
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.money.dunning import store
from billing.money.invoice_requests import recovery
from billing.money.subscriptions import service
from billing.money.subscriptions.commands import running
from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.api_app import Api
from tests.integration.dunning.dunning_setup import (
    RENEWAL,
    attempts,
    case,
    overdue,
    owed,
    steer,
    tried,
)
from tests.integration.lost_answers import lose_answer


async def order(customer: Customer, name: str, /, **fields: Any) -> Json:
    """An update as the Temporal UI sends it: a name and some JSON."""
    subscription = (await customer.subscription())["subscription_id"]
    handle = customer.actors.temporal.get_workflow_handle(f"subscription/{subscription}")
    answer: Json = await handle.execute_update(name, fields)
    return answer


async def pause(customer: Customer, way: str) -> None:
    if way == "api":
        assert (await steer(customer, "pause", {"reason": "on the phone"}))["status"] == "paused"
    else:
        await order(customer, "pause_dunning", reason="on the phone")


async def resume(customer: Customer, way: str) -> None:
    if way == "api":
        assert (await steer(customer, "resume"))["status"] == "open"
    else:
        await order(customer, "resume_dunning")


async def extend(customer: Customer, way: str, days: int) -> None:
    if way == "api":
        await steer(customer, "extend", {"days": days})
    else:
        await order(customer, "extend_dunning", days=days)


WAYS = pytest.mark.parametrize("way", ["api", "temporal"])


@WAYS
async def test_a_paused_case_tries_nothing_and_one_that_goes_on_keeps_its_gaps(
    actors: Actors, way: str
) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    await pause(customer, way)
    paused = await case(customer)
    assert (paused["status"], paused["next_step"]) == ("paused", None)
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert await tried(customer) == 2
    assert (await customer.subscription())["status"] == "past_due"

    await resume(customer, way)

    assert (await attempts(customer))[-1] == ("attempt-1", "declined"), "the missed slot, now"
    assert (await case(customer))["next_at"] == "2027-02-24T10:00:00Z", "its gap of four days"
    await customer.advance(to="2027-02-25T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    assert await tried(customer) == 4


@WAYS
async def test_an_extended_case_moves_its_slots_and_its_end(actors: Actors, way: str) -> None:
    customer = await overdue(actors)
    await extend(customer, way, 5)
    assert (await case(customer))["extended_days"] == 5
    assert (await customer.published()).count("evt.billing.dunning.extended") == 1
    plan = [
        ("2027-02-09T09:59:59Z", 2, "past_due"),
        ("2027-02-09T10:00:00Z", 3, "past_due"),
        ("2027-02-13T10:00:00Z", 4, "past_due"),
        ("2027-02-14T10:00:00Z", 4, "unpaid"),
    ]
    for moment, tries, status in plan:
        await customer.advance(to=moment)
        seen = (await tried(customer), (await customer.subscription())["status"])
        assert seen == (tries, status), moment


@WAYS
async def test_an_extension_after_a_late_slot_moves_what_is_to_come(
    actors: Actors, way: str
) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    await pause(customer, way)
    await customer.advance(to="2027-02-10T10:00:00Z")
    await resume(customer, way)
    assert (await case(customer))["next_at"] == "2027-02-14T10:00:00Z"

    await extend(customer, way, 5)

    assert (await case(customer))["next_at"] == "2027-02-19T10:00:00Z"
    await customer.advance(to="2027-02-19T09:59:59Z")
    assert await tried(customer) == 3
    await customer.advance(to="2027-02-19T10:00:00Z")
    assert await tried(customer) == 4
    assert (await case(customer))["next_at"] == "2027-02-20T10:00:00Z"
    await extend(customer, way, 3)
    await customer.advance(to="2027-02-23T09:59:59Z")
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(to="2027-02-23T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"


@WAYS
async def test_an_extension_during_a_pause_gives_an_overdue_slot_its_days_from_then(
    actors: Actors, way: str
) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    await pause(customer, way)
    await customer.advance(to="2027-02-20T10:00:00Z")
    await extend(customer, way, 5)
    await customer.advance(to="2027-02-22T10:00:00Z")
    await resume(customer, way)
    assert (await case(customer))["next_at"] == "2027-02-25T10:00:00Z"
    assert await tried(customer) == 2
    await customer.advance(to="2027-02-25T10:00:00Z")
    assert (await case(customer))["next_at"] == "2027-03-01T10:00:00Z", "its gap of four days"
    assert await tried(customer) == 3


async def test_a_debt_whose_forgiveness_was_not_answered_is_forgiven_once(actors: Actors) -> None:
    customer = await overdue(actors)
    path = f"/admin/dunning/{(await case(customer))['dunning_case_id']}/forgive"
    why, key = {"reason": "our fault"}, str(uuid4())
    forgiven = await actors.operate("POST", path, why, key=key, status=200)
    await lose_answer(actors, key)
    assert await actors.operate("POST", path, why, key=key, status=200) == forgiven
    refused = await actors.operate("POST", path, why, status=409)
    assert refused["code"] == "INVOICE_STATE"


@WAYS
async def test_a_forgiven_debt_is_as_good_as_paid(actors: Actors, way: str) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    debt = (await owed(customer))["invoice_id"]
    if way == "api":
        forgiven = await steer(customer, "forgive", {"reason": "our fault"})
        assert (forgiven["status"], forgiven["close_reason"]) == ("forgiven", "our fault")
    else:
        await order(customer, "forgive", reason="our fault")
    invoice = await customer.ask("GET", f"/billing/invoices/{debt}", status=200)
    assert (invoice["status"], invoice["settlement"]) == ("paid", "forgiven")
    assert (invoice["amount_paid"], invoice["amount_credited"]) == (0, 4900)
    [note] = invoice["credit_notes"]
    assert (note["kind"], note["amount"], note["reason"]) == ("forgiven", 4900, "our fault")
    told = (await customer.ask("GET", "/billing/events?type=evt.billing.invoice.paid"))["data"]
    assert [one["data"]["invoice_id"] for one in told].count(debt) == 1
    assert (await customer.published()).count("evt.billing.dunning.forgiven") == 1
    assert (await customer.subscription())["status"] == "active"
    assert await customer.credits() == 500

    await customer.advance(to="2027-02-28T10:00:00Z")
    assert await tried(customer) == 2
    [payment] = await customer.rows(
        "SELECT status, client_secret AS secret FROM payments WHERE account_id = %(me)s"
        " ORDER BY created_at DESC, id DESC LIMIT 1"
    )
    assert payment["status"] == "canceled", "nobody can pay a forgiven invoice by accident"
    late = await customer.confirm({"next_action": {"client_secret": payment["secret"]}})
    assert late.status == 400


async def test_forgiving_after_the_period_pauses_and_charges_nothing(actors: Actors) -> None:
    customer = await overdue(actors)
    name = (await case(customer))["dunning_case_id"]
    await customer.advance(to="2027-03-10T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    await customer.script("succeed", then="last")
    await actors.operate("POST", f"/admin/dunning/{name}/forgive", {"reason": "settled in court"})
    assert (await customer.until_subscription("paused"))["pause_reason"] == "debt_settled"
    statuses = [invoice["status"] for invoice in await customer.invoices()]
    assert statuses == ["paid", "paid", "void"]
    assert len(await customer.effects()) == 1, "nothing but the first period was paid"


async def test_an_extension_that_broke_off_is_sent_again_and_adds_no_days(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await overdue(actors)
    name = (await case(customer))["dunning_case_id"]
    path, headers = f"{API}/admin/dunning/{name}/extend", api.admin() | {"Idempotency-Key": name}

    async def dies(*_: Any) -> None:
        raise RuntimeError("the process is killed behind the commit")

    with monkeypatch.context() as patched:
        patched.setattr(dunning, "wait_until_done", dies)
        broken = await api.client.post(path, json={"days": 5}, headers=headers)
    assert broken.status_code == 500
    again = await api.client.post(path, json={"days": 5}, headers=headers)
    assert (again.status_code, again.json()["extended_days"]) == (200, 5)
    assert (await steer(customer, "extend", {"days": 5}))["extended_days"] == 10


async def test_an_extension_that_is_sent_twice_at_once_adds_its_days_once(
    actors: Actors, database: Database
) -> None:
    customer = await overdue(actors)
    case_id = ids.decode(ids.DUNNING_CASE, (await case(customer))["dunning_case_id"])

    async def extend(connection: AsyncConnection) -> None:
        known = await store.get(connection, case_id)
        await recovery.extend_once(connection, known, 7, real_now(), suffix="same")

    async def extend_too() -> None:
        async with database.tenant(customer.uuid) as connection:
            await extend(connection)

    async with database.tenant(customer.uuid) as connection:
        await extend(connection)
        other = asyncio.create_task(extend_too())
        await asyncio.wait([other], timeout=0.5)
        assert not other.done(), "it waits for the first"
    await other
    assert (await case(customer))["extended_days"] == 7


async def test_an_order_that_meets_the_end_of_its_subscription_is_to_be_sent_again(
    actors: Actors, database: Database
) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    name, invoice = (await case(customer))["dunning_case_id"], (await owed(customer))["invoice_id"]
    subscription = (await customer.subscription())["subscription_id"]
    paying = {"amount_cents": 4900, "reference": "R1"}
    orders: dict[str, Json] = {
        f"/admin/dunning/{name}/pause": {"reason": "x"},
        f"/admin/invoices/{invoice}/record-payment": paying,
    }

    async def send(path: str) -> int:
        headers = actors.headers("*", "admin", path)
        answer = await actors.client.post(f"{API}{path}", json=orders[path], headers=headers)
        return answer.status_code

    async with database.tenant(customer.uuid) as ending:
        cancel = partial(running.cancel, now=True)
        await service.carry_out(ending, ids.decode(ids.SUBSCRIPTION, subscription), cancel)
        sent = [asyncio.create_task(send(path)) for path in orders]
        done, _ = await asyncio.wait(sent, timeout=1)
        assert not done, "they wait for the end"
    assert [await one for one in sent] == [503, 503]
    assert [await send(path) for path in orders] == [200, 200]
    assert (await case(customer))["status"] == "recovered"


async def test_a_retry_from_the_temporal_ui_answers_when_it_is_decided(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "insufficient_funds", "succeed")
    assert (await order(customer, "retry_now"))["status"] == "past_due"
    assert (await order(customer, "retry_now"))["status"] == "active"
    assert [mark for mark, _ in await attempts(customer)] == ["attempt-0", "now-1", "now-2"]


async def test_a_refused_order_from_the_temporal_ui_halts_nothing(actors: Actors) -> None:
    customer = await overdue(actors)
    await steer(customer, "extend", {"days": 90})
    for name, fields in (
        ("extend_dunning", {"days": 1}),
        ("extend_dunning", {"days": 0}),
        ("forgive", {}),
        ("forgive", {"reason": "x", "invoice": "inv_somebody"}),
        ("pause_dunning", {"invoice": "inv_somebody"}),
    ):
        with pytest.raises(WorkflowUpdateFailedError):
            await order(customer, name, **fields)
    [matter] = await customer.rows(
        "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'subscription'"
    )
    assert matter["status"] == "open"
    assert (await case(customer))["status"] == "open"
    assert await tried(customer) == 2


async def test_what_an_operator_did_is_on_record_with_name_and_reason(actors: Actors) -> None:
    customer = await overdue(actors)
    await steer(customer, "pause", {"reason": "promised to pay on Friday"})
    await order(customer, "resume_dunning", reason="did not pay")
    rows = await customer.rows(
        "SELECT actor, action, detail FROM billing_audit WHERE account_id = %(me)s"
        " AND action IN ('dunning.paused', 'dunning.resumed') ORDER BY id"
    )
    assert [(row["action"], row["detail"]["reason"]) for row in rows] == [
        ("dunning.paused", "promised to pay on Friday"),
        ("dunning.resumed", "did not pay"),
    ]
    assert rows[0]["actor"].startswith("admin:")
    assert rows[1]["actor"].startswith("workflow:subscription/")


async def test_a_closed_case_takes_no_orders(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    await customer.advance(days=3)
    for verb, body in (("pause", {}), ("resume", {}), ("extend", {"days": 1})):
        refused = await steer(customer, verb, body, status=409)
        assert refused["code"] == "DUNNING_CASE_CLOSED"
    assert (await steer(customer, "retry-now", status=409))["code"] == "INVOICE_ALREADY_PAID"
    assert (await steer(customer, "forgive", {"reason": "x"}, status=409))["code"] == (
        "INVOICE_STATE"
    )


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("extend", {"days": 0}, 422, "VALIDATION_FAILED"),
        ("extend", {"days": 91}, 422, "VALIDATION_FAILED"),
        ("extend", {"days": 1.5}, 422, "VALIDATION_FAILED"),
        ("forgive", {}, 422, "VALIDATION_FAILED"),
        ("forgive", {"reason": " "}, 422, "VALIDATION_FAILED"),
        ("pause", {"until": "never"}, 422, "VALIDATION_FAILED"),
        ("retry-now", {"payment_method_id": "mth_unknown"}, 404, "PAYMENT_METHOD_NOT_FOUND"),
    ],
)
async def test_a_bad_order_changes_nothing(
    overdue_customer: Customer, verb: str, body: Json, status: int, code: str
) -> None:
    before = await case(overdue_customer)
    refused = await steer(overdue_customer, verb, body, status=status)
    assert refused["code"] == code
    assert await case(overdue_customer) == before


async def test_cases_are_listed_by_status_and_account(actors: Actors) -> None:
    customer, other = await overdue(actors), await overdue(actors)
    await steer(other, "pause")
    listed = await actors.operate("GET", "/admin/dunning?status=paused&limit=100")
    accounts = {one["account_id"] for one in listed["data"]}
    assert other.id in accounts
    assert customer.id not in accounts
    mine = await actors.operate("GET", f"/admin/dunning?account_id={customer.id}")
    [shown] = mine["data"]
    assert shown["slot_days"] == [0, 3, 7]
    assert (shown["next_step"], shown["next_at"]) == ("attempt 2 of 3", "2027-02-04T10:00:00Z")
    assert shown["opened_at"] == RENEWAL
    assert shown["final_action"] == "unpaid"


@pytest.fixture(scope="module")
async def overdue_customer(actors: Actors) -> Customer:
    """One account for all the orders that must change nothing."""
    return await overdue(actors)
