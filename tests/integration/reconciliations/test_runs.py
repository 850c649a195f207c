"""A run goes on behind its last page, whatever happened to its worker, and pages lose nothing."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.reconciling import ReconciliationActivities
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.periods import EPOCH
from billing.insight.health import store as health
from billing.money.reconciliations import rules, service, store
from billing.money.reconciliations.schemas import Discrepancy
from gateways import list_limits
from gateways.stripe import StripeGateway
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.reconciliations.test_reconcile import PATH, altered, ended, of, reconcile
from tests.integration.reversals.refunds_made import paid_for, refunded
from workflows import start
from workflows.contracts import ReconcileRequest


async def test_a_run_whose_worker_was_killed_reads_on_and_counts_nothing_twice(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    await refunded(customer, await paid_for(customer), 100)
    now = real_now()
    body = {
        "acknowledge": True, "since_at": (now - timedelta(days=1)).isoformat(),
        "until_at": now.isoformat(),
    }  # fmt: skip
    await asyncio.sleep(1.1)
    whole = await actors.operate("POST", PATH, body, key=str(uuid4()), status=200)
    slow = await actors.sandbox.fault("slow", method="GET", path="/v1/refunds", seconds=3, times=9)
    asked = asyncio.create_task(actors.operate("POST", PATH, body, key=str(uuid4())))

    async def begun() -> Json | None:
        listed = await actors.operate("GET", "/admin/reconciliations?limit=1")
        newest: Json = listed["data"][0]
        return newest if newest["checked"]["payments"] and not newest["finished_at"] else None

    run = await wait_for(begun, "its first page is kept")
    assert run is not None
    await actors.control.kill("worker")
    await actors.sandbox.clear("faults", slow)
    killed = await ended(actors, run)
    assert killed["checked"] == whole["checked"]
    assert (await asked)["run_id"] == run["run_id"]


@pytest.mark.parametrize("size", [1, 2])
async def test_no_object_is_lost_between_pages(
    actors: Actors,
    customer: Customer,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    began = real_now()
    await customer.save_card()
    for _ in range(5):
        await customer.bought("small")
    payments = (await customer.ask("GET", "/billing/payments"))["data"]
    monkeypatch.setattr(list_limits, "PAGE", size)
    monkeypatch.setattr(rules, "SETTLES", timedelta(seconds=1))
    settings = stack_settings(actors.stack)
    gateway = StripeGateway(actors.stack.stripe_secret_key, actors.stack.sandbox_url)
    dependencies = Dependencies(database, gateway, settings)
    job = ReconciliationActivities(dependencies, actors.temporal)
    await asyncio.sleep(2)
    run = service.new_run(ids.new(), since_at=began - timedelta(seconds=1))
    monkeypatch.setattr(store, "PAGE", 1)
    async with (
        altered(actors, payments[2], "stripe_payment_intent_id", f"pi_gone{uuid4().hex}"),
        altered(actors, payments[3], "stripe_payment_intent_id", f"pi_gone{uuid4().hex}"),
    ):
        async with database.operator() as connection:
            await service.begin(connection, run)
            await service.begin(connection, run)
        move = await ActivityEnvironment().run(job.read, ReconcileRequest(run_id=run.id))
        cut = service.new_run(ids.new(), since_at=began - timedelta(seconds=1))
        monkeypatch.setattr(rules, "MOST", 1)
        async with database.operator() as connection:
            await service.begin(connection, cut)
        await ActivityEnvironment().run(job.read, ReconcileRequest(run_id=cut.id))
    await gateway.close()
    assert move.done
    async with database.operator() as connection:
        kept = await store.get(connection, run.id)
        cut = await store.get(connection, cut.id)
    assert (cut.status, cut.is_alarming) == ("finished", True)
    assert cut.place is not None, "it is not complete"
    shown = await actors.operate("GET", f"/admin/reconciliations/{kept.name}")
    assert sorted(one["kind"] for one in of(shown, customer)) == [
        "missing_at_stripe", "missing_at_stripe", "missing_here", "missing_here",
    ]  # fmt: skip
    assert shown["is_complete"]
    assert shown["checked"]["payments"] >= 5
    again = await ActivityEnvironment().run(job.read, ReconcileRequest(run_id=run.id))
    assert again == move, "what has ended is not read again"


async def test_a_difference_is_told_until_it_is_put_right_however_old_it_is(
    actors: Actors, customer: Customer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await customer.bought("small")
    payment = await paid_for(customer)
    await asyncio.sleep(2)
    monkeypatch.setattr(rules, "SETTLES", timedelta(seconds=1))
    settings = stack_settings(actors.stack, BILLING_RECONCILE_ALERT_ABOVE=1_000)
    gateway = StripeGateway(actors.stack.stripe_secret_key, actors.stack.sandbox_url)
    job = ReconciliationActivities(Dependencies(database, gateway, settings), actors.temporal)
    assert job.alert_above == 1_000

    async def kinds() -> list[str]:
        run = service.new_run(ids.new())
        async with database.operator() as connection:
            await service.begin(connection, run)
        await ActivityEnvironment().run(job.read, ReconcileRequest(run_id=run.id))
        shown = await actors.operate("GET", f"/admin/reconciliations/{run.name}")
        return [one["kind"] for one in of(shown, customer)]

    for column, value, found in (
        ("received_minor", 998, ["amount_differs"]),
        (
            "stripe_payment_intent_id",
            f"pi_gone{uuid4().hex}",
            ["missing_here", "missing_at_stripe"],
        ),
    ):
        async with altered(actors, payment, column, value):
            assert sorted(await kinds()) == sorted(found)
            with monkeypatch.context() as later:
                later.setattr(rules, "WINDOW", timedelta(seconds=1))
                for _ in range(2):
                    await asyncio.sleep(1.1)
                    assert sorted(await kinds()) == sorted(found), "it is older than the window"
        with monkeypatch.context() as later:
            later.setattr(rules, "WINDOW", timedelta(seconds=1))
            assert await kinds() == []
    await gateway.close()


@pytest.mark.parametrize(("alert_above", "alarms"), [(0, True), (1, False)])
async def test_more_differences_than_the_threshold_are_a_sign(
    database: Database, alert_above: int, alarms: bool
) -> None:
    run = service.new_run(ids.new())
    run = run.model_copy(update={"started_at": run.started_at + timedelta(hours=1)})
    page = service.Compared((), {}, (), run.since_at, run.until_at, None)
    lost = Discrepancy(
        kind="missing_here", object="payment", stripe_id="pi_lost", account_id=ids.new(),
        created_at=run.since_at,
    )  # fmt: skip
    async with database.operator() as connection:
        await service.begin(connection, run)
        ended = await service.go_on(connection, run, page, [lost], alert_above)
        sign = (await health.look(connection)).backlog("discrepancies")
        await connection.rollback()
    assert (ended.status, ended.is_alarming) == ("finished", alarms)
    assert list(sign.examples) == (["missing_here pi_lost"] if alarms else [])


async def test_a_run_that_meets_a_fault_of_ours_ends_and_says_so(
    actors: Actors, database: Database
) -> None:
    run = service.new_run(ids.new()).model_copy(update={"since_at": EPOCH - timedelta(days=9)})
    async with database.operator() as connection:
        await service.begin(connection, run)
    await start.reconcile(actors.temporal, run.id)
    shown = await ended(actors, {"run_id": run.name})
    assert (shown["status"], shown["error"]) == ("failed", "ValueError")
    trail = await actors.operate("GET", f"/admin/audit?subject={run.name}")
    assert trail["data"][0]["action"] == "reconciliation.failed"

    async def words() -> str:
        async with database.operator() as connection:
            return str((await health.look(connection)).backlog("discrepancies").examples)

    assert f"{run.name} failed: ValueError" in await words()
    await reconcile(actors)
    assert "failed" not in await words()


async def test_a_run_whose_key_lacks_a_right_names_it_and_goes_on_once_the_key_has_it(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    denied = await actors.sandbox.fault("error_403", method="GET", path="/v1/disputes", times=None)
    asked = asyncio.create_task(reconcile(actors))

    async def told() -> Json | None:
        listed = await actors.operate("GET", "/admin/reconciliations?limit=1")
        waiting = (one for one in listed["data"] if one["status"] == "running")
        return next((one for one in waiting if one["error"]), None)

    run = await wait_for(told, "it says why it waits")
    assert run is not None
    assert run["error"].startswith("PROVIDER_KEY: Stripe does not allow this to our key: ")
    assert "'rak_balance_read'" in run["error"], "as Stripe names it"
    await actors.sandbox.clear("faults", denied)
    after = await asked
    assert (after["run_id"], after["status"], after["error"]) == (run["run_id"], "finished", None)


async def test_a_run_waits_for_a_free_connection(database: Database) -> None:
    run = service.new_run(ids.new())
    async with database.operator() as connection:
        await service.begin(connection, run)
        full = PoolTimeout("QueuePool limit of size 5 overflow 0 reached")
        waits = await service.note_error(connection, run.id, full)
        assert (waits.finished_at, waits.error) == (None, f"TimeoutError: {full}")
        await connection.rollback()
