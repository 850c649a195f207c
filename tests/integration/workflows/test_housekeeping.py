"""Jobs of every minute and day read what they are for, and nothing that rests."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from temporalio.testing import ActivityEnvironment

from activities import paged_scan, signs_of_life
from activities.matter import Dependencies
from activities.sweeper import SweeperActivities
from billing.core.clock import real_now
from billing.core.database import Database
from billing.insight.health import store as health
from billing.insight.integrity import store as integrity
from billing.matters import sweeps
from billing.metering.usage import months
from billing.money.purchases import store as purchases
from tests.integration.actors import Actors
from tests.integration.api_app import stack_settings
from workflows.contracts import SweepRequest
from workflows.sweep import PASSES


class Asked:
    """A connection that shows how Postgres would do what it is asked."""

    def __init__(self, database: Database, answered: int = 0) -> None:
        self.database = database
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
        async with self.database.operator() as connection:
            # Of few rows a look at all of them is cheaper.
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            self.plan = "\n".join(await connection.scalars(text(f"EXPLAIN {said}")))
        raise LookupError("only explained")


async def test_the_sweep_of_each_minute_reads_no_account_at_rest(database: Database) -> None:
    asked: Any = Asked(database)
    with pytest.raises(LookupError):
        await sweeps.left_behind(asked, real_now(), 10)
    assert "ix_matters_left_behind" in asked.plan
    assert "Filter" not in asked.plan, "its index holds nothing that is not left behind"


async def test_pages_of_running_matters_read_none_at_rest(database: Database) -> None:
    asked: Any = Asked(database)
    with pytest.raises(LookupError):
        await sweeps.open_page(asked, "account/", 10)
    assert "ix_matters_open" in asked.plan
    assert "Filter" not in asked.plan


async def test_pages_of_matters_that_must_run_read_none_at_rest(database: Database) -> None:
    asked: Any = Asked(database)
    with pytest.raises(LookupError):
        await integrity.must_run(asked, "account/", 10)
    assert "ix_matters_open" in asked.plan


@pytest.mark.parametrize(
    ("clock", "indexes"),
    [
        ("real time", ["ix_purchases_unarchived"]),
        ("clocks of their own", ["ix_accounts_clock"]),
    ],
)
async def test_purchases_to_archive_are_found_by_their_age(
    database: Database, clock: str, indexes: list[str]
) -> None:
    asked: Any = Asked(database, answered=int(clock != "real time"))
    with pytest.raises(LookupError):
        await purchases.archive(asked, timedelta(days=90), real_now())
    assert all(name in asked.plan for name in indexes), asked.plan


async def test_old_purchases_are_archived_batch_by_batch(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await actors.customer()
    old = [await customer.bought("small") for _ in range(2)]
    async with database.operator() as connection:
        await connection.execute(
            text("UPDATE purchases SET created_at = created_at - :age WHERE account_id = :me"),
            {"age": timedelta(days=91), "me": customer.uuid},
        )
    monkeypatch.setattr(purchases, "ARCHIVE_BATCH", 1)
    client: Any = None  # this job tells no workflow
    settings = stack_settings(actors.stack)
    job = SweeperActivities(
        Dependencies(database=database, provider=client, settings=settings), client
    )
    run = ActivityEnvironment().run
    report = await run(job.sweep, SweepRequest(name="housekeeping"))
    assert report.counts["purchases_archived"] >= len(old)
    left = await customer.ask("GET", "/billing/purchases")
    assert left["data"] == []
    again = await run(job.sweep, SweepRequest(name="housekeeping"))
    assert again.counts["purchases_archived"] == 0


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
    assert "housekeeping" in PASSES, "it may take hours, and be silent for minutes only"


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
