"""Gauges and signs that the API gives of the product, on rows that stand for trouble."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from temporalio.client import Client

from api.app import create_app
from api.monitoring import gauges
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import open_database
from billing.insight.health import store
from billing.platform.audit import service as audit
from billing.platform.processes import store as processes
from billing.platform.processes.service import Pulse
from billing.platform.provider_inbox.rules import AT_ONCE
from tests.integration.actors import Actors, wait_for
from tests.integration.api.test_health import calling
from tests.integration.api_app import Api, stack_settings
from workflows.client import connect

LATENESS = "billing_lateness_seconds_bucket"
PARKED = "INSERT INTO stripe_webhook_events (stripe_event_id, type, payload, status, received_at)"
A_DAY_AGO = "clock_timestamp() - interval '1 day'"


def value(name: str, **labels: str) -> float:
    """A gauge as it is scraped."""
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


async def test_the_gauges_show_what_waits_and_who_serves(api: Api) -> None:
    async with api.database.operator() as connection:
        gauges.show(await store.look(connection))
        before = value("billing_waiting", what="parked", label="")
        rows = f"('evt_gauge', 'charge.failed', '{{}}', 'parked', {A_DAY_AGO})"
        await connection.execute(text(f"{PARKED} VALUES {rows}"))
        gauges.show(await store.look(connection))
        await connection.rollback()
    assert value("billing_waiting", what="parked", label="") == before + 1
    assert value("billing_waiting_oldest_seconds", what="parked", label="") >= 86_400
    assert value("billing_processes_alive", kind="worker") == 1
    assert value("billing_processes_silent", kind="worker") == 0
    assert abs(value("billing_clock_ahead_seconds")) < 2
    assert value("billing_looked_timestamp_seconds") > 1_700_000_000
    assert 0 <= value("billing_pool_busy_ratio", role="app") <= 1


async def test_what_cannot_be_counted_leaves_the_others(api: Api) -> None:
    async with api.database.operator() as other, api.database.operator() as connection:
        await other.execute(text("LOCK TABLE unpaid_uses IN ACCESS EXCLUSIVE MODE"))
        figures = await store.look(connection)
        gauges.show(figures)
        await other.rollback()
    assert figures.uncounted == ("unpaid_uses",)
    assert value("billing_uncounted") == 1
    others = {"what": "halted", "label": ""}
    assert REGISTRY.get_sample_value("billing_waiting", others) is not None
    labels = {"what": "unpaid_uses", "label": ""}
    assert REGISTRY.get_sample_value("billing_waiting", labels) is None, "it is not 0"
    async with api.database.operator() as connection:
        gauges.show(await store.look(connection))
    assert value("billing_uncounted") == 0
    assert REGISTRY.get_sample_value("billing_waiting", labels) is not None


MANY = """
    INSERT INTO matters (workflow_id, account_id, subject_id, kind, status, next_due, created_at,
        woken_at)
    SELECT 'trial/many-' || n, :account, gen_random_uuid(), 'trial',
        CASE n % 2 WHEN 0 THEN 'open' ELSE 'resting' END, now() + interval '1 year', now(), now()
    FROM generate_series(1, 2000) AS n
"""


async def plan_of(api: Api, said: str, **sample: object) -> str:
    """The plan of a query on large tables, as superuser: row-level security would add to it."""
    account = await api.new_account()
    engine = create_async_engine(api.stack.superuser_url)
    async with engine.connect() as superuser:
        await superuser.execute(text(MANY), {"account": ids.decode(ids.ACCOUNT, account["id"])})
        await superuser.execute(text("SET LOCAL enable_seqscan = off"))
        await superuser.execute(text("SET LOCAL enable_sort = off"))
        # It would read all that is here in the order of accounts, where that is fresh and little.
        await superuser.execute(text("SET LOCAL enable_mergejoin = off"))
        plan = "\n".join(await superuser.scalars(text(f"EXPLAIN {said}"), sample))
        await superuser.rollback()
    await engine.dispose()
    return plan


async def test_unpaid_uses_are_counted_by_an_index(api: Api) -> None:
    """However many there are."""
    plan = await plan_of(api, store.backlog("unpaid_uses"))
    assert "ix_unpaid_uses_overdue" in plan, plan


async def test_late_steps_and_fresh_charges_are_found_by_their_time(api: Api) -> None:
    """A time that changes within the statement would be compared with each row that ever was."""
    overdue = await plan_of(api, store.backlog("overdue"))
    late = await plan_of(api, store.LATENESS, bounds=list(store.LATE_SECONDS))
    charges = await plan_of(api, store.CHARGES)
    assert "Index Cond: (next_due < statement_timestamp())" in overdue, overdue
    assert "Index Cond: ((next_due < statement_timestamp()) AND" in late, late
    assert "Index Cond: (real_ran_at > " in late, late
    assert "Index Cond: (real_started_at > " in charges, charges


async def test_a_step_that_nobody_does_is_late_all_the_same(api: Api) -> None:
    account = await api.new_account()
    async with api.database.operator() as connection:
        gauges.show(await store.look(connection))
        before = {le: value(LATENESS, le=le) for le in ("3600", "86400", "+Inf")}
        await connection.execute(
            text(
                "INSERT INTO matters (workflow_id, account_id, subject_id, kind, next_due,"
                " created_at, woken_at) VALUES ('trial/none', :account, gen_random_uuid(), 'trial',"
                f" {A_DAY_AGO} + interval '1 hour', {A_DAY_AGO}, {A_DAY_AGO})"
            ),
            {"account": ids.decode(ids.ACCOUNT, account["id"])},
        )
        gauges.show(await store.look(connection))
        await connection.rollback()
    after = {le: value(LATENESS, le=le) for le in before}
    assert after == {"3600": before["3600"], **{le: before[le] + 1 for le in ("86400", "+Inf")}}


async def test_what_is_to_be_looked_at_at_once_waits_since_it_is_there(api: Api) -> None:
    account = await api.new_account()
    async with api.database.operator() as connection:
        await connection.execute(
            text(
                "INSERT INTO matters (workflow_id, account_id, subject_id, kind, next_due,"
                " created_at, woken_at) VALUES ('trial/at-once', :account, gen_random_uuid(),"
                f" 'trial', '1970-01-01', {A_DAY_AGO}, clock_timestamp())"
            ),
            {"account": ids.decode(ids.ACCOUNT, account["id"])},
        )
        oldest = (await store.look(connection)).backlog("overdue").oldest
        await connection.rollback()
    assert oldest is not None, "it is late"
    assert oldest < timedelta(days=2), "its step is due since it was opened, not since 1970"


A_TRIAL = """
    INSERT INTO matters (workflow_id, account_id, subject_id, kind, status, next_due, created_at,
           woken_at, started_at)
    VALUES ('trial/planted', :account, gen_random_uuid(), 'trial', :status, :due,
            clock_timestamp() - interval '30 days', :woken, clock_timestamp())"""


async def oldest_overdue(api: Api, **matter: object) -> timedelta:
    """The longest wait of a step, with this matter of a month ago among them."""
    account = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    async with api.database.operator() as connection:
        await connection.execute(text(A_TRIAL), {"account": account, **matter})
        oldest = (await store.look(connection)).backlog("overdue").oldest
        await connection.rollback()
    assert oldest is not None, "it is late"
    return oldest


async def test_a_look_that_was_asked_for_just_now_does_not_wait_since_the_last_step(
    api: Api,
) -> None:
    at_once = real_now().replace(year=2000)
    waits = await oldest_overdue(api, status="open", due=at_once, woken=real_now())
    assert waits < timedelta(days=2), "nor since it was opened"


async def test_a_matter_at_rest_that_nobody_told_in_time_is_late(api: Api) -> None:
    long_ago = real_now() - timedelta(days=7)
    waits = await oldest_overdue(api, status="resting", due=long_ago, woken=long_ago)
    assert waits >= timedelta(days=7)


async def test_what_is_to_be_done_at_once_is_no_late_step(api: Api) -> None:
    """It was told as years late."""
    account = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    event = {"account": account, "status": "open", "due": AT_ONCE, "woken": real_now()}
    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = (await store.look(connection)).late
        await connection.execute(text(A_TRIAL), event)
        assert (await store.look(connection)).late[-1] == before[-1]
        await connection.rollback()


async def test_a_halt_is_as_old_as_itself_and_says_why(api: Api) -> None:
    """It was as old as the last change of the matter's rows, weeks for a renewal."""
    account, long_ago = ids.decode(ids.ACCOUNT, (await api.new_account())["id"]), timedelta(days=30)
    renewal = {"account": account, "status": "halted", "due": real_now()}
    async with api.database.operator() as connection:
        await connection.execute(text("UPDATE matters SET status = 'open' WHERE status = 'halted'"))
        await connection.execute(text(A_TRIAL), {**renewal, "woken": real_now() - long_ago})
        await audit.record(
            connection, account_id=account, action="matter.halted", subject="trial/planted",
            at=real_now(), reason="end the trial: PROVIDER_UNAVAILABLE",
        )  # fmt: skip
        halted = (await store.look(connection)).backlog("halted")
        await connection.rollback()
    assert halted.oldest is not None, "it is halted"
    assert halted.oldest < long_ago
    assert halted.examples == ("trial/planted: end the trial: PROVIDER_UNAVAILABLE",)


AN_EVENT = """
    INSERT INTO stripe_webhook_events (stripe_event_id, account_id, type, payload, status,
           received_at, source)
    VALUES ('evt_planted', :account, 'planted', '{{}}', '{status}', :at, '{source}')"""


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("events", AN_EVENT.format(status="received", source="webhook")),
        ("unmatched", AN_EVENT.format(status="unmatched", source="webhook")),
        ("parked", AN_EVENT.format(status="parked", source="webhook")),
        ("unsent", AN_EVENT.format(status="handled", source="poll")),
    ],
    ids=lambda what: what if what.isalpha() else "",
)
@pytest.mark.parametrize("is_test", [False, True], ids=["a customer", "a test account"])
async def test_rows_of_test_accounts_raise_no_alarm(
    api: Api, what: str, row: str, is_test: bool
) -> None:
    account = await api.new_account(is_test=is_test)
    planted = {"account": ids.decode(ids.ACCOUNT, account["id"]), "at": real_now()}

    async def count(connection: AsyncConnection) -> int:
        return (await store.look(connection)).backlog(what).count

    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = await count(connection)
        await connection.execute(text(row), planted)
        assert await count(connection) == before + (not is_test)
        await connection.rollback()


@pytest.mark.parametrize("is_test", [False, True], ids=["a customer", "a test account"])
async def test_the_money_of_test_accounts_raises_no_alarm(
    api: Api, actors: Actors, is_test: bool
) -> None:
    customer = await actors.customer(is_test=is_test)
    await customer.bought("small")
    planted = {
        "undecided": "INSERT INTO payment_attempts (id, account_id, invoice_id, key, status,"
        " started_at, real_started_at) SELECT gen_random_uuid(), account_id, id, 'planted',"
        " 'pending', now(), now() FROM invoices WHERE account_id = :account",
        "unreached": "INSERT INTO payment_attempts (id, account_id, invoice_id, payment_id, key,"
        " status, started_at, real_started_at) SELECT gen_random_uuid(), account_id, invoice_id,"
        " id, 'another', 'unreached', now(), now() FROM payments WHERE account_id = :account",
        "approvals": "UPDATE payments SET status = 'pending_approval' WHERE account_id = :account",
        "held": "UPDATE invoices SET status = 'open', collection = 'held'"
        " WHERE account_id = :account",
        "halted": "UPDATE matters SET status = 'halted' WHERE account_id = :account",
    }
    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = await store.look(connection)
        for row in planted.values():
            await connection.execute(text(row), {"account": customer.uuid})
        after = await store.look(connection)
        await connection.rollback()
    risen = {what for what in planted if after.backlog(what).count > before.backlog(what).count}
    assert risen == (set() if is_test else planted.keys())


@pytest.mark.parametrize(("reason", "risen"), [("charge_refused", 1), ("paid_otherwise", 0)])
async def test_a_try_whose_payer_has_used_another_card_calls_no_operator(
    api: Api, actors: Actors, reason: str, risen: int
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    planted = text(
        "INSERT INTO payment_attempts (id, account_id, invoice_id, payment_id, key, status,"
        " decline_code, started_at, real_started_at) SELECT gen_random_uuid(), account_id,"
        " invoice_id, id, 'another', 'unreached', :reason, now(), now() FROM payments"
        " WHERE account_id = :account"
    )
    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = (await store.look(connection)).backlog("unreached").count
        await connection.execute(planted, {"account": customer.uuid, "reason": reason})
        assert (await store.look(connection)).backlog("unreached").count == before + risen
        await connection.rollback()


async def test_an_event_that_is_delivered_after_the_poll_found_it_was_sent(api: Api) -> None:
    """And what came before the last webhook is of a time that has passed."""
    found = {"account": None, "at": real_now()}
    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = (await store.look(connection)).backlog("unsent").count
        await connection.execute(text(AN_EVENT.format(status="handled", source="poll")), found)
        assert (await store.look(connection)).backlog("unsent").count == before + 1
        delivered = "UPDATE stripe_webhook_events SET deliveries = 2 WHERE stripe_event_id = :id"
        await connection.execute(text(delivered), {"id": "evt_planted"})
        assert (await store.look(connection)).backlog("unsent").count == before
        later = "UPDATE stripe_webhook_events SET source = 'webhook', received_at = :at"
        where = " WHERE stripe_event_id = 'evt_planted'"
        moved = {"at": real_now() + timedelta(seconds=1)}
        await connection.execute(text(later + where), moved)
        assert (await store.look(connection)).backlog("unsent").count == 0
        await connection.rollback()


async def test_events_that_were_never_sent_are_counted_until_one_is(api: Api) -> None:
    """A shop with a sale an hour is told as well, and nothing clears without a delivery."""
    event = (
        "INSERT INTO stripe_webhook_events (stripe_event_id, type, payload, status, source,"
        " received_at) VALUES ('evt_' || :minutes, 'planted', '{}', 'handled', :source,"
        " now() - make_interval(mins => :minutes))"
    )
    engine = create_async_engine(api.stack.superuser_url)
    async with engine.begin() as connection:
        # In its place, for this connection: others go on meanwhile.
        await connection.execute(
            text(
                "CREATE TEMPORARY TABLE stripe_webhook_events"
                " (LIKE stripe_webhook_events INCLUDING DEFAULTS) ON COMMIT DROP"
            )
        )
        for minutes in (10, 70, 130, 1_450):
            await connection.execute(text(event), {"minutes": minutes, "source": "poll"})
        unsent = text(store.backlog("unsent"))
        assert (await connection.execute(unsent)).mappings().one()["count"] == 3
        await connection.execute(text(event), {"minutes": 5, "source": "webhook"})
        assert (await connection.execute(unsent)).all() == []
    await engine.dispose()


async def test_detailed_health_says_that_a_worker_lives_and_nothing_is_late(api: Api) -> None:
    answer = await api.client.get("/health/detailed")
    signs = answer.json()["signs"]
    assert signs["worker"] == "healthy", signs
    assert {"halted matters", "late steps", "webhooks", "migrations"} <= signs.keys()


async def test_a_wait_for_the_database_is_no_difference_of_clocks(api: Api) -> None:
    async with open_database(stack_settings(api.stack, BILLING_DATABASE_POOL_SIZE=1)) as database:
        pulse = Pulse(database, "worker")
        async with database.tenant():
            beating = asyncio.create_task(pulse.beat())
            await asyncio.sleep(1)
        await beating
        async with database.tenant() as connection:
            _, found = await processes.known(connection)
            await processes.leave(connection, pulse._own.id)
        (own,) = [one for one in found if one.id == pulse._own.id]
        assert abs(own.clock_ahead) < timedelta(seconds=0.5)


async def test_a_process_that_can_open_no_connection_is_silent(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("billing.core.open_files.has_room", bool)
    pulse = Pulse(api.database, "worker")
    async with pulse.beating():
        await asyncio.sleep(0.2)
        async with api.database.tenant() as connection:
            _, found = await processes.known(connection)
    assert pulse._own.id not in {one.id for one in found}
    assert "no further connection can be opened" in caplog.text


async def test_a_refused_delivery_is_told_by_its_reason(api: Api) -> None:
    settings = stack_settings(api.stack)
    temporal: Client = await connect(settings)
    app = create_app(settings, api.database, temporal)
    async with calling(app) as client:
        signed = {"Stripe-Signature": f"t={int(real_now().timestamp())},v1=wrong"}
        for _ in range(2):
            answer = await client.post("/api/v1/webhooks/stripe", json={}, headers=signed)
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SIGNATURE")
    (told,) = app.state.services.deliveries.counts()
    assert (told.provider, told.outcome, told.count) == ("stripe", "INVALID_SIGNATURE", 2)

    async def known() -> int:
        await app.state.services.pulse.beat()
        async with api.database.operator() as connection:
            figures = await store.look(connection)
        return sum(
            one.count
            for process in figures.processes
            for one in process.figures.deliveries
            if one.outcome == "INVALID_SIGNATURE"
        )

    assert await wait_for(known, "its signs of life tell them on", lambda seen: seen >= 2)
