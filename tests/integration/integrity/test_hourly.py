"""The hourly run looks at accounts that moved, and at each of the others in its turn."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.scheduled_jobs import ScheduledJobs
from billing.core.clock import real_now
from billing.core.database import Database
from billing.insight.integrity import hourly, runs, service, store
from billing.insight.integrity.rules import IN_TIME, SLACK
from billing.insight.integrity.schemas import Broken
from billing.insight.rounds import store as rounds
from tests.integration.actors import Actors, Customer
from tests.integration.api_app import stack_settings
from tests.integration.one_connection import seen_by
from tests.integration.wrong_clock import wrong_clock
from workflows.contracts import JobRequest

NOBODY = UUID(int=0)
DAMAGE = "UPDATE trials SET credits = credits + 1 WHERE account_id = :id"
REPAIR = "UPDATE trials SET credits = credits - 1 WHERE account_id = :id"
NAME = "trials_granted_once"
MARK = (
    "INSERT INTO accounts_to_check (account_id, job, noted_at) VALUES (:id, 'integrity', now())"
    " ON CONFLICT (account_id, job) DO UPDATE SET noted_at = now()"
)


@pytest.fixture(autouse=True)
def only_what_moved_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """All accounts of this run were made a moment ago; without a margin they rest since then."""
    monkeypatch.setattr(rounds, "MARGIN", timedelta())


@pytest.fixture
def run(actors: Actors, database: Database) -> Any:
    """The activity as the schedule runs it: so many accounts at a time, from where it stood."""
    client: Any = None  # these jobs tell no workflow
    settings = stack_settings(actors.stack)
    job = ScheduledJobs(Dependencies(database=database, provider=client, settings=settings), client)

    async def once(name: str, page: int = 500, place: Sequence[Any] = ()) -> dict[str, int]:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, heartbeat_details=place)
        report = await environment.run(job.run, JobRequest(name=name, limit=page))
        return dict(report.counts)

    return once


async def at(database: Database, query: str, **values: Any) -> int:
    async with database.operator() as connection:
        return (await connection.execute(text(query), values)).rowcount


async def noted(database: Database, job: str) -> list[UUID]:
    async with database.operator() as connection:
        return await rounds.page(connection, job, NOBODY, 10_000)


async def next_after(database: Database, job: str, account_id: UUID) -> None:
    """The next one in turn comes after this account."""
    await at(
        database,
        "UPDATE check_rounds SET noted_account = :id WHERE job = :job",
        id=account_id,
        job=job,
    )


async def resting(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    return customer


async def test_an_account_that_did_not_move_is_looked_at_in_its_turn(
    actors: Actors, database: Database, run: Any
) -> None:
    customer = await resting(actors)
    await run("integrity")
    assert customer.uuid not in await noted(database, "integrity"), "its books were seen to be well"
    await at(database, DAMAGE, id=customer.uuid)
    try:
        await next_after(database, "integrity", customer.uuid)
        assert NAME not in await run("integrity", 1), "nobody looks at an account at rest"
        await next_after(database, "integrity", UUID(int=customer.uuid.int - 1))
        assert (await run("integrity", 1))[NAME] == 1
        await next_after(database, "integrity", customer.uuid)
        assert (await run("integrity", 1))[NAME] == 1, "what is wrong is looked at until it is well"
        async with database.operator() as connection:
            latest = await runs.latest(connection)
        assert latest is not None
        assert "a trial has one grant of its credits, which ends with it (1)" in latest.wrong
    finally:
        await at(database, REPAIR, id=customer.uuid)
    assert NAME not in await run("integrity", 1)
    assert customer.uuid not in await noted(database, "integrity")


async def test_a_mark_set_during_a_check_of_a_worker_whose_clock_is_ahead_stays(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, look = await resting(actors), service.look_and_open

    async def look_and_change(*asked: Any) -> Any:
        found = await look(*asked)
        await at(database, MARK, id=customer.uuid)
        return found

    with monkeypatch.context() as patched, wrong_clock(timedelta(hours=1)):
        patched.setattr(service, "look_and_open", look_and_change)
        assert await hourly.look(database, [customer.uuid]) == 1
    assert customer.uuid in await noted(database, "integrity"), "it changed after it was read"
    await hourly.look(database, [customer.uuid])
    assert customer.uuid not in await noted(database, "integrity")


async def test_an_account_that_moved_is_looked_at_within_the_hour(
    actors: Actors, database: Database, run: Any
) -> None:
    customer = await resting(actors)
    await run("integrity")
    await at(database, DAMAGE, id=customer.uuid)
    try:
        await customer.ask("POST", "/usage/record", {"product_id": "gpt-4", "usage_amount": "10"})
        await next_after(database, "integrity", customer.uuid)
        assert (await run("integrity", 1))[NAME] == 1
    finally:
        await at(database, REPAIR, id=customer.uuid)


@pytest.mark.parametrize("source", rounds.EVERYTHING)
async def test_rows_of_each_kind_tell_who_moved(superuser: AsyncConnection, source: str) -> None:
    """By an index: what was written before is not read."""
    await rounds.note(superuser, "integrity", (source,), 1)
    since = {"since": real_now(), "since_id": NOBODY}
    plan = "\n".join(await superuser.scalars(text(f"EXPLAIN {source}"), since))
    assert "Seq Scan" not in plan
    assert "Index Cond" in plan


# As an upgrade leaves the records of the release before, which did not note when it wrote them.
OF_BEFORE: Final = text(
    """
    INSERT INTO billing_records SELECT r.* FROM generate_series(1, 50000) AS n,
        (SELECT * FROM billing_records WHERE account_id = :id LIMIT 1) AS one,
        LATERAL jsonb_populate_record(one::billing_records, jsonb_build_object(
            'id', uuidv7(), 'event_id', NULL, 'month', '1970-01-01', 'written_at', NULL, 'n', n)
        ) AS r
    """
)


async def test_uses_of_before_an_upgrade_are_not_read_each_hour(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await resting(actors)
    await customer.ask("POST", "/usage/record", {"product_id": "gpt-4", "usage_amount": "10"})
    await superuser.execute(OF_BEFORE, {"id": customer.uuid})
    await superuser.execute(text("ANALYZE billing_records_before"))
    await rounds.note(superuser, "usage-sync", rounds.USAGE, 1)
    asked, since = text(f"EXPLAIN {rounds.USAGE[0]}"), {"since": real_now()}
    plan = "\n".join(await superuser.scalars(asked, since))
    assert "on billing_records_before" in plan
    assert "Seq Scan on billing_records_before" not in plan


async def test_a_run_that_was_cut_off_goes_on_behind_its_last_page(
    actors: Actors, database: Database, run: Any
) -> None:
    first, second = await resting(actors), await resting(actors)
    await run("integrity")
    for customer in (first, second):
        await at(
            database,
            "INSERT INTO accounts_to_check (account_id, job, noted_at)"
            " VALUES (:id, 'integrity', now())",
            id=customer.uuid,
        )
    counts = await run("integrity", 1, [str(first.uuid), 5, 0])
    left = await noted(database, "integrity")
    assert counts["accounts"] >= 6
    assert (first.uuid in left, second.uuid in left) == (True, False)
    await run("integrity")
    assert first.uuid not in await noted(database, "integrity")


async def test_each_page_is_seen_as_it_is_when_its_turn_comes(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One snapshot lasts no longer than its page."""
    customer = await resting(actors)
    look_at = service.look_at
    pages: list[int] = []

    async def look_and_damage(database: Database, accounts: Sequence[UUID]) -> list[Broken]:
        found = await look_at(database, accounts)
        if not pages:
            await at(database, DAMAGE, id=customer.uuid)
        pages.append(len(accounts))
        return found

    told: list[tuple[int, int]] = []
    monkeypatch.setattr(service, "look_at", look_and_damage)
    try:
        report = await service.examine_all(database, lambda *place: told.append(place), page=3)
    finally:
        await at(database, REPAIR, id=customer.uuid)
    assert NAME in {one.name for one in report.wrong}
    assert len(pages) > 1
    assert max(pages) == 3
    assert told[0][0] == 0
    assert told[-1][0] == sum(pages)


def take_a_second(monkeypatch: pytest.MonkeyPatch, account: UUID) -> None:
    """The books of this account take a second, those of several accounts have a fifth of one."""
    waiting = text(
        "SELECT 'x' AS name, id AS account_id, 1 AS violations, CAST(ARRAY[] AS text[]) AS examples"
        " FROM accounts WHERE id = ANY(:accounts)"
        " AND CASE WHEN id = :slow THEN pg_sleep(1) IS NULL ELSE false END"
    ).bindparams(slow=account)
    monkeypatch.setattr(store, "WRITTEN", {NAME: waiting})
    monkeypatch.setattr(store, "TIMEOUT_MS", 200)


async def test_books_of_one_account_may_take_longer_than_those_of_many(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = await resting(actors), await resting(actors)
    take_a_second(monkeypatch, slow.uuid)
    assert await hourly.look(database, [slow.uuid, quick.uuid]) == 2


async def test_books_that_take_too_long_are_told_and_the_others_looked_at(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    slow, quick = await resting(actors), await resting(actors)
    take_a_second(monkeypatch, slow.uuid)
    monkeypatch.setattr(store, "WHOLE_ACCOUNT_MS", 400)
    assert await hourly.look(database, [slow.uuid, quick.uuid]) == 1
    assert f"the books of {slow.uuid} could not be looked at" in caplog.text
    await hourly.conclude(database, 1, 1)
    async with database.operator() as connection:
        latest = await runs.latest(connection)
    assert latest is not None
    assert f"{runs.UNSEEN} (1)" in latest.wrong
    await hourly.conclude(database, 1, 0)


async def test_a_check_that_takes_too_long_is_told_and_the_report_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check of everybody must not cost what the run has found; it is made again the next hour."""
    await at(database, "DELETE FROM integrity_runs")
    monkeypatch.setattr(store, "OF_ALL", {"coupons_counted": text("SELECT pg_sleep(1)")})
    monkeypatch.setattr(store, "TIMEOUT_MS", 200)
    report = await hourly.conclude(database, 3, 0)
    (told,) = [one for one in report.wrong if one.name == IN_TIME.name]
    assert told.examples == ("coupons_counted",)
    async with database.operator() as connection:
        latest = await runs.latest(connection)
    assert latest is not None
    assert (latest.ran_at, latest.accounts) == (report.as_of, 3)
    assert told.words in latest.wrong
    assert latest.whole_at is None or latest.whole_at < report.as_of
    monkeypatch.undo()
    assert IN_TIME.name not in {one.name for one in (await hourly.conclude(database, 0, 0)).wrong}


async def test_books_that_take_too_long_leave_the_report_of_all_the_others(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = await resting(actors), await resting(actors)
    take_a_second(monkeypatch, slow.uuid)
    monkeypatch.setattr(store, "WHOLE_ACCOUNT_MS", 400)
    await at(database, DAMAGE, id=quick.uuid)
    monkeypatch.setitem(
        store.WRITTEN,
        "damaged",
        text(
            "SELECT 'trials_granted_once' AS name, account_id, 1 AS violations,"
            " ARRAY['its own'] AS examples FROM trials"
            " WHERE account_id = ANY(:accounts) AND account_id = :quick"
        ).bindparams(quick=quick.uuid),
    )
    try:
        report = await service.examine_all(database)
    finally:
        await at(database, REPAIR, id=quick.uuid)
    wrong = {one.name: one.examples for one in report.wrong}
    assert wrong[IN_TIME.name] == (slow.id,)
    assert wrong[NAME] == ("its own",)


LATE: Final = {
    "inbox_handled": """
        INSERT INTO stripe_webhook_events (stripe_event_id, account_id, type, payload, received_at)
        VALUES ('evt_waits', :id, 'charge.failed', '{}', :since)""",
    "matters_started": """
        INSERT INTO matters (workflow_id, account_id, subject_id, kind, status, created_at,
               next_due, woken_at)
        VALUES ('trial/waits', :id, :id, 'trial', 'resting', :since, :since, :since)""",
    "purchases_end_in_time": """
        UPDATE purchases SET status = 'pending', expires_at = :since WHERE account_id = :id""",
    "thresholds_billed": """
        UPDATE usage_periods SET threshold_at = :since
        WHERE account_id = :id AND closed_at IS NULL""",
}


@pytest.mark.parametrize("name", sorted(LATE))
async def test_work_that_waits_for_a_worker_is_no_wrong_book_for_a_day(
    actors: Actors, superuser: AsyncConnection, name: str
) -> None:
    here, customer = seen_by(superuser), await actors.customer()
    await customer.bought("small")
    await customer.subscribed("pro")
    for hours, is_wrong in ((1, False), (25, True)):
        values = {"id": customer.uuid, "since": real_now() - timedelta(hours=hours)}
        kept = await superuser.begin_nested()
        await superuser.execute(text(LATE[name]), values)
        hour = await hourly.conclude(here, 0, 0)
        assert (name in {finding.name for finding in hour.wrong}) is is_wrong
        assert name in {one.name for one in await service.late(here, SLACK)}, "verify tells of it"
        await kept.rollback()


async def test_a_worker_whose_clock_is_ahead_tells_no_outage_and_puts_no_check_off(
    actors: Actors, superuser: AsyncConnection
) -> None:
    here, customer = seen_by(superuser), await actors.customer()
    await superuser.execute(text("DELETE FROM integrity_runs"))
    values = {"id": customer.uuid, "since": real_now() - timedelta(hours=1)}
    await superuser.execute(text(LATE["inbox_handled"]), values)
    with wrong_clock(timedelta(days=3)):
        hour = await hourly.conclude(here, 0, 0)
    assert "inbox_handled" not in {finding.name for finding in hour.wrong}
    latest = await runs.latest(superuser)
    assert latest is not None
    assert latest.ran_at <= real_now()
    assert latest.whole_at is None or latest.whole_at <= real_now()
    ahead = "SELECT count(*) FROM proven_series WHERE whole_at > clock_timestamp()"
    assert await superuser.scalar(text(ahead)) == 0
