"""Jobs of every minute and day read what they are for, and nothing that rests."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from temporalio.testing import ActivityEnvironment

from activities import leftovers, paged_scan, signs_of_life
from activities.dependencies import Dependencies
from activities.paged_scan import Undone
from activities.scheduled_jobs import ScheduledJobs
from billing.core.clock import real_now
from billing.core.database import Database
from billing.insight.health import store as health
from billing.insight.integrity import store as integrity
from billing.matters import sweeps
from billing.metering.quotas import store as quotas
from billing.metering.usage import months
from billing.money.purchases import store as purchases
from billing.platform.accounts import store as accounts
from billing.platform.idempotency import store as idempotency
from billing.platform.idempotency.schemas import Granted, KeyedRequest, Refused
from billing.platform.outbox import store as outbox
from billing.platform.provider_inbox import store as inbox
from billing.platform.rate_windows import store as rate_windows
from tests.integration.actors import Actors
from tests.integration.api_app import stack_settings
from tests.integration.wrong_clock import wrong_clock
from workflows.contracts import JobRequest

# Which of several indexes is cheaper for few rows hangs on the statistics of what ran before.
ALONE: Final = text(
    "UPDATE pg_index SET indisvalid = false FROM pg_index AS one"
    " WHERE one.indexrelid = CAST(:index AS regclass) AND pg_index.indrelid = one.indrelid"
    " AND pg_index.indexrelid <> one.indexrelid"
)
# So does whether a look at all rows, or sorting them, is.
NO_OTHER_WAY: Final = ("enable_seqscan", "enable_bitmapscan", "enable_sort")


class Asked:
    """A connection that shows how Postgres would do what it is asked, if the table had one index.

    A partial index that does not have all of the rows asked for could not be used.
    """

    def __init__(self, superuser: AsyncConnection, index: str, answered: int = 0) -> None:
        self.superuser = superuser
        self.index = index
        self.plan = ""
        self.answered = answered

    async def execute(self, statement: Any) -> Any:
        if self.answered:
            self.answered -= 1
            return SimpleNamespace(rowcount=0)
        said = statement.compile(
            dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
            compile_kwargs={"literal_binds": True},
        )
        await self.superuser.execute(ALONE, {"index": self.index})
        for name in NO_OTHER_WAY:
            await self.superuser.execute(text(f"SET LOCAL {name} = off"))
        self.plan = "\n".join(await self.superuser.scalars(text(f"EXPLAIN {said}")))
        raise LookupError("only explained")


async def housekeeping(actors: Actors, database: Database) -> dict[str, int]:
    client: Any = None  # this job tells no workflow
    settings = stack_settings(actors.stack)
    job = ScheduledJobs(Dependencies(database=database, provider=client, settings=settings), client)
    report = await ActivityEnvironment().run(job.run, JobRequest(name="housekeeping"))
    return dict(report.counts)


async def test_the_sweep_of_each_minute_reads_no_account_at_rest(
    superuser: AsyncConnection,
) -> None:
    asked: Any = Asked(superuser, "ix_matters_left_behind")
    with pytest.raises(LookupError):
        await sweeps.left_behind(asked, real_now(), 10)
    assert "ix_matters_left_behind" in asked.plan, asked.plan
    assert "Filter" not in asked.plan, "its index holds nothing that is not left behind"


async def test_halted_accounts_with_other_work_are_found_among_the_halted_alone(
    superuser: AsyncConnection,
) -> None:
    asked: Any = Asked(superuser, "ix_matters_halted")
    with pytest.raises(LookupError):
        await sweeps.halted_left_behind(asked, real_now(), 10)
    assert "ix_matters_halted" in asked.plan, asked.plan
    assert "Seq Scan" not in asked.plan


async def test_events_that_nobody_was_told_of_are_found_among_the_waiting_alone(
    superuser: AsyncConnection,
) -> None:
    asked: Any = Asked(superuser, "ix_stripe_webhook_events_waiting")
    with pytest.raises(LookupError):
        await inbox.waiting(asked, real_now(), 10)
    assert "ix_stripe_webhook_events_waiting" in asked.plan, asked.plan
    assert "Seq Scan" not in asked.plan


async def test_walks_that_nobody_started_are_found_among_the_clocks_alone(
    superuser: AsyncConnection,
) -> None:
    asked: Any = Asked(superuser, "ix_accounts_clock")
    with pytest.raises(LookupError):
        await accounts.advancing(asked)
    assert "ix_accounts_clock" in asked.plan


async def test_pages_of_running_matters_read_none_at_rest(superuser: AsyncConnection) -> None:
    asked: Any = Asked(superuser, "ix_matters_open")
    with pytest.raises(LookupError):
        await sweeps.open_page(asked, "account/", 10)
    assert "ix_matters_open" in asked.plan, asked.plan
    assert "Filter" not in asked.plan


async def test_pages_of_matters_that_must_run_read_none_at_rest(superuser: AsyncConnection) -> None:
    asked: Any = Asked(superuser, "ix_matters_open")
    with pytest.raises(LookupError):
        await integrity.must_run(asked, "account/", 10)
    assert "ix_matters_open" in asked.plan


@pytest.mark.parametrize(
    ("clock", "index"),
    [("real time", "ix_purchases_unarchived"), ("clocks of their own", "ix_accounts_clock")],
)
async def test_purchases_to_archive_are_found_by_their_age(
    superuser: AsyncConnection, clock: str, index: str
) -> None:
    asked: Any = Asked(superuser, index, answered=int(clock != "real time"))
    with pytest.raises(LookupError):
        await purchases.archive(asked, timedelta(days=90), real_now())
    assert index in asked.plan, asked.plan


async def test_old_purchases_are_archived_batch_by_batch(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await actors.customer()
    *old, young = [await customer.bought("small") for _ in range(3)]
    for days, aged in ((91, old), (89, [young])):
        await customer.rows(
            "UPDATE purchases SET created_at = created_at - %(age)s"
            " WHERE public_id('pur', id) = ANY(%(aged)s) RETURNING id",
            age=timedelta(days=days), aged=[one["purchase_id"] for one in aged],
        )  # fmt: skip
    monkeypatch.setattr(purchases, "ARCHIVE_BATCH", 1)
    report = await housekeeping(actors, database)
    assert report["purchases_archived"] >= len(old)
    left = await customer.ask("GET", "/billing/purchases")
    assert [one["purchase_id"] for one in left["data"]] == [young["purchase_id"]]
    again = await housekeeping(actors, database)
    assert again["purchases_archived"] == 0


PARTS: Final = {
    "months_made": (months, "make"),
    "keys_purged": (idempotency, "purge"),
    "purchases_archived": (purchases, "archive"),
    "rates_forgotten": (rate_windows, "purge"),
    "payloads_emptied": (inbox, "empty"),
    "events_dropped": (outbox, "drop"),
    "claims_expired": (quotas, "expired"),
    "claims_forgotten": (quotas, "forget"),
}


@pytest.mark.parametrize("broken", PARTS)
async def test_a_part_that_fails_leaves_the_others_done_and_is_told(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    begun: list[str] = []

    def watched(name: str, call: Any) -> Any:
        async def part(*given: Any) -> Any:
            begun.append(name)
            if name == broken:
                raise OperationalError("DELETE", {}, Exception("statement timeout"))
            return await call(*given)

        return part

    for name, (store, verb) in PARTS.items():
        monkeypatch.setattr(store, verb, watched(name, getattr(store, verb)))
    with pytest.raises(Undone, match=broken):
        await housekeeping(actors, database)
    assert set(begun) == set(PARTS)
    assert begun[0] == "months_made", "without them every use would be refused"


async def test_old_windows_of_rates_go_page_by_page(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = str(uuid4())
    insert = text(
        "INSERT INTO rate_windows (name, began_at, taken)"
        " SELECT n || CAST(:mine AS text), clock_timestamp() - CAST(:age AS interval), 1"
        " FROM unnest(CAST(:names AS text[])) n"
    )
    count = text("SELECT count(*) FROM rate_windows WHERE name LIKE '%' || CAST(:mine AS text)")
    async with database.operator() as connection:
        fresh, old = timedelta(hours=23), timedelta(hours=25)
        for age, names in ((fresh, "abc"), (old, "defghij"), (fresh, "klm")):
            values = {"mine": mine, "age": age, "names": list(names)}
            await connection.execute(insert, values)
    pages, purge = [], rate_windows.purge

    async def page(*given: Any) -> Any:
        pages.append(found := await purge(*given))
        return found

    monkeypatch.setattr(rate_windows, "purge", page)
    monkeypatch.setattr(rate_windows, "PURGE_PAGE", 2)
    report = await housekeeping(actors, database)
    assert report["rates_forgotten"] >= 7
    assert max(many for many, _ in pages) <= 2
    async with database.operator() as connection:
        assert await connection.scalar(count, {"mine": mine}) == 6


@pytest.mark.parametrize(
    ("days", "kept"), [(-200, True), (0, True), (200, False)], ids=["past", "present", "future"]
)
async def test_purchases_on_a_clock_are_archived_by_that_clock(
    actors: Actors, database: Database, days: int, kept: bool
) -> None:
    then = real_now() + timedelta(days=min(days, 0))
    customer = await actors.customer_on_clock(then.isoformat())
    await customer.bought("small")
    if days > 0:
        later = "UPDATE accounts SET clock_at = clock_at + %(more)s WHERE id = %(me)s"
        await customer.rows(later, more=timedelta(days=days))
    async with database.operator() as connection:
        await purchases.archive(connection, timedelta(days=90), real_now())
        left = "SELECT count(*) FROM purchases WHERE account_id = :me AND archived_at IS NULL"
        assert await connection.scalar(text(left), {"me": customer.uuid}) == int(kept)
        await connection.rollback()


async def test_a_long_purge_shows_that_it_is_alive_within_a_page_and_after_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", 0.01)
    left, told, environment = [3, 2, 0], [0], ActivityEnvironment()
    environment.on_heartbeat = lambda *place: told.append(len(left))

    async def page(connection: AsyncConnection) -> int:
        await connection.execute(text("SELECT pg_sleep(0.2)"))
        return left.pop(0)

    assert await environment.run(paged_scan.drain, database, page) == 3 + 2
    assert told.count(3) > 2, "while the first page is taken"
    assert told[-1] == 0, "after the last one"


async def test_months_are_made_ahead_by_the_operator_s_role_and_missing_ones_are_told(
    database: Database,
) -> None:
    last = "SELECT max(month) FROM usage_months"
    there = (
        "SELECT count(*) FROM pg_class WHERE relispartition"
        f" AND relname = to_char(({last}), '\"billing_records_\"YYYY_MM')"
    )
    async with database.operator() as connection:
        before = await connection.scalar(text(last))
        assert await months.make(connection, months.AHEAD + 1) in (0, 1)
        assert await connection.scalar(text(last)) >= before
        assert await connection.scalar(text(there)) == 1
        assert await months.make(connection) == 0, "they are there"
        figures = await health.look(connection)
    assert figures.backlog("months").count == 0


@pytest.mark.parametrize("lost", ["its row", "its table"])
async def test_a_month_that_is_not_there_is_a_sign(actors: Actors, lost: str) -> None:
    engine = create_async_engine(actors.stack.superuser_url)
    async with engine.connect() as owner:
        month, table = (
            await owner.execute(
                text(
                    "SELECT month, to_char(month, '\"billing_records_\"YYYY_MM') FROM usage_months"
                    " WHERE month > now() + interval '1 month' ORDER BY month LIMIT 1"
                )
            )
        ).one()
        lose = f"DELETE FROM usage_months WHERE month = '{month}'"
        await owner.execute(text(lose if lost == "its row" else f"DROP TABLE {table}"))
        missing = (await health.look(owner)).backlog("months")
        await owner.execute(text("SET LOCAL ROLE billing_owner"))
        assert await months.make(owner) == 1
        assert (await health.look(owner)).backlog("months").count == 0
        await owner.rollback()
    await engine.dispose()
    assert missing.examples == (month.strftime("%Y-%m"),)


async def test_pages_of_halted_matters_are_in_the_order_of_their_index(
    superuser: AsyncConnection,
) -> None:
    asked: Any = Asked(superuser, "ix_matters_halted_workflow")
    with pytest.raises(LookupError):
        await sweeps.halted_page(asked, "account/", 10)
    assert "ix_matters_halted_workflow" in asked.plan, asked.plan
    assert "Filter" not in asked.plan
    assert "Sort" not in asked.plan


async def test_very_many_halted_matters_keep_no_event_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each it is asked whether it has a run: a sweep may end before the last."""
    parts: list[str] = []

    async def each_apart(given: dict[str, Any]) -> dict[str, int]:
        parts.extend(given)
        return {}

    monkeypatch.setattr(leftovers, "each_apart", each_apart)
    client: Any = None
    await ActivityEnvironment().run(leftovers.wake, database, client, 1)
    assert parts[-1] == "halted"


async def test_old_keys_are_removed_oldest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another order each batch would read all that are left."""
    monkeypatch.setattr(idempotency, "PURGE_BATCH", 2)
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    insert = text(
        "INSERT INTO billing_idempotency (scope, route, key, request_hash, resource_id, lease,"
        " lease_until, created_at, expires_at) SELECT '*', 'old', n, '', gen_random_uuid(),"
        " gen_random_uuid(), at, at, at - CAST(n AS integer) * interval '1 s'"
        " FROM unnest(CAST(:names AS text[])) n, (SELECT CAST(:at AS timestamptz)) AS past (at)"
    )
    left = text("SELECT key FROM billing_idempotency WHERE route = 'old' ORDER BY key")
    async with database.operator() as connection:
        await connection.execute(insert, {"at": long_ago, "names": list("12345")})
        # As the planner prefers where about half of the table is old.
        await connection.execute(text("SET LOCAL enable_indexscan = off"))
        await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        assert await idempotency.purge(connection, long_ago) == 2
        assert list(await connection.scalars(left)) == ["1", "2", "3"]
        await connection.rollback()


async def test_a_worker_whose_clock_is_ahead_deletes_no_young_key(
    actors: Actors, database: Database
) -> None:
    made = KeyedRequest(account_id=None, route="young", key=str(uuid4()), request_hash="")
    async with database.operator() as connection:
        assert isinstance(await idempotency.claim(connection, made), Granted)
    with wrong_clock(timedelta(days=2)):
        await housekeeping(actors, database)
    async with database.operator() as connection:
        kept = await idempotency.claim(connection, made)
    assert kept == Refused(reason="in_flight"), "a repeat would act a second time"
