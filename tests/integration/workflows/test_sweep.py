"""A sweep does all it can, whatever one row or one part of it has."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from temporalio.testing import ActivityEnvironment

from activities import resting
from activities.dependencies import Dependencies
from activities.paged_scan import Undone
from activities.scheduled_jobs import ScheduledJobs
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import sweeps
from billing.matters.kinds import ACCOUNT, REST
from billing.matters.schemas import Matter
from billing.platform.provider_inbox import store as inbox
from tests.integration.actors import Actors, Customer
from tests.integration.api_app import stack_settings
from tests.integration.locked import other_session
from tests.integration.wrong_clock import wrong_clock
from workflows import start, visibility
from workflows.contracts import JobReport, JobRequest

RESTING = """
    INSERT INTO matters (workflow_id, account_id, subject_id, kind, status, created_at, woken_at,
        started_at, next_due)
    VALUES (%(name)s, %(me)s, %(me)s, 'account', 'resting', now(), now(), now(),
        now() + interval '2 hours')
"""
OVERDUE = """
    INSERT INTO matters (workflow_id, account_id, subject_id, kind, status, created_at, woken_at,
        started_at, next_due)
    VALUES (%(name)s, %(me)s, %(me)s, 'account', 'open', now(), now(), now(),
        now() - interval '1 hour')
"""
LEFT = """
    INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type, object_id,
        payload, status, source, deliveries, created_at, received_at)
    VALUES (%(event)s, %(me)s, %(name)s, 'setup_intent.succeeded', 'seti_unknown', '{}',
        'received', 'webhook', 1, now(), now() - %(age)s * interval '1 minute')
"""
STRAY = """
    INSERT INTO stripe_webhook_events (stripe_event_id, type, payload, status, received_at)
    VALUES (%(event)s, 'payment_intent.succeeded', %(payload)s, 'unmatched',
        now() - interval '1 hour')
"""
STANDS = "SELECT status, error FROM stripe_webhook_events WHERE stripe_event_id = %(event)s"
HANDLED = "SELECT status FROM stripe_webhook_events WHERE stripe_event_id = %(event)s"


async def at_rest(actors: Actors) -> tuple[Customer, str]:
    customer = await actors.customer()
    name = ACCOUNT.workflow_id(customer.uuid)
    await customer.rows(RESTING, name=name)
    return customer, name


@asynccontextmanager
async def locked(actors: Actors, name: str) -> AsyncIterator[None]:
    """Somebody forgot to commit in `psql`."""
    async with other_session(actors.stack) as connection:
        lock = "SELECT FROM matters WHERE workflow_id = %s FOR UPDATE"
        await connection.execute(lock, (name,))
        yield


@pytest.fixture
async def job(actors: Actors, database: Database) -> AsyncIterator[ScheduledJobs]:
    """The sweep, which the stack's own schedule leaves alone meanwhile."""
    schedule = actors.temporal.get_schedule_handle("billing-sweep")
    await schedule.pause()
    settings, provider = stack_settings(actors.stack), cast(Any, None)
    yield ScheduledJobs(
        Dependencies(database=database, provider=provider, settings=settings), actors.temporal
    )
    await schedule.unpause()


async def swept(job: ScheduledJobs) -> JobReport:
    return await ActivityEnvironment().run(job.run, JobRequest(name="sweep"))


async def still_rests(database: Database, name: str) -> bool:
    async with database.operator() as connection:
        return bool(await sweeps.still_resting(connection, [name], real_now() + REST))


async def test_a_locked_row_holds_up_no_other_customer(
    actors: Actors, database: Database, job: ScheduledJobs, caplog: pytest.LogCaptureFixture
) -> None:
    """The oldest event ended each run: nothing that rested began, and no later event was told."""
    (busy, owner), (other, name) = await at_rest(actors), await at_rest(actors)
    events = [f"evt_{uuid4().hex}" for _ in range(3)]
    for event, (customer, workflow_id), age in zip(
        events, ((busy, owner), (busy, owner), (other, name)), (9, 8, 7), strict=True
    ):
        await customer.rows(LEFT, event=event, name=workflow_id, age=age)
    async with locked(actors, owner):
        report = await swept(job)
        assert report.counts["rested"] >= 1
        assert not await still_rests(database, name)
        await other.until_handled("setup_intent.succeeded")
        told = [one for one in caplog.messages if "could not be dispatched" in one]
        assert told == [f"event {events[0]} could not be dispatched"], "one wait for one owner"
        assert [one["status"] for one in await actors.sql(HANDLED, event=events[1])] == ["received"]
    await swept(job)
    await busy.until_handled("setup_intent.succeeded")


async def test_a_part_that_fails_ends_no_other_and_has_the_sweep_tried_again(
    actors: Actors, database: Database, job: ScheduledJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: Any) -> Any:
        raise OperationalError("a statement", None, psycopg.errors.QueryCanceled("timeout"))

    monkeypatch.setattr(sweeps, "overdue", slow)
    customer, name = await at_rest(actors)
    event = f"evt_{uuid4().hex}"
    await customer.rows(LEFT, event=event, name=name, age=9)
    with pytest.raises(Undone, match=r"overdue \(OperationalError\)"):
        await swept(job)
    assert not await still_rests(database, name)
    await customer.until_handled("setup_intent.succeeded")


@pytest.mark.parametrize("noted", [True, False])
async def test_a_halt_that_began_during_the_sweep_stands_and_one_that_nobody_noted_ends(
    actors: Actors, job: ScheduledJobs, monkeypatch: pytest.MonkeyPatch, *, noted: bool
) -> None:
    """Temporal shows a halt before the register does."""
    customer = await actors.customer()
    name = ACCOUNT.workflow_id(customer.uuid)
    await customer.rows(OVERDUE, name=name)
    resumed: list[str] = []

    async def halted_among(_: object, names: Sequence[str]) -> set[str]:
        if noted:
            await customer.rows("UPDATE matters SET status = 'halted' WHERE account_id = %(me)s")
        return {name} & set(names)

    async def resume(_: object, matter: Matter) -> bool:
        resumed.append(matter.workflow_id)
        return True

    monkeypatch.setattr(visibility, "halted_among", halted_among)
    monkeypatch.setattr(start, "resume", resume)
    await swept(job)
    assert resumed == ([] if noted else [name])


async def test_without_a_database_the_sweep_fails_at_once(
    job: ScheduledJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise OperationalError("a statement", None, psycopg.OperationalError("no connection"))

    async def unreachable(*_: Any) -> Any:
        pytest.fail("the database is away")

    monkeypatch.setattr(resting, "wake", away)
    monkeypatch.setattr(sweeps, "left_behind", unreachable)
    with pytest.raises(OperationalError, match="no connection"):
        await swept(job)


async def test_a_worker_whose_clock_is_ahead_neither_parks_nor_puts_off_an_event_of_today(
    actors: Actors, database: Database, job: ScheduledJobs
) -> None:
    event = f"evt_{uuid4().hex}"
    told = {
        "id": event, "type": "payment_intent.succeeded", "created": int(real_now().timestamp()),
        "data": {"object": {"id": "pi_stranger", "object": "payment_intent", "metadata": {}}},
    }  # fmt: skip
    await actors.sql(STRAY, event=event, payload=json.dumps(told))
    with wrong_clock(timedelta(hours=25)):
        await swept(job)
    assert await actors.sql(STANDS, event=event) == [{"status": "unmatched", "error": None}]
    soon = real_now() + inbox.LONGEST_PAUSE
    async with database.operator() as connection:
        found = await inbox.unmatched(connection, soon, soon, 10_000)
        await connection.rollback()
    assert event in {one.event_id for one in found}, "the next sweep by a right clock looks again"
