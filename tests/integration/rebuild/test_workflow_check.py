"""Postgres and Temporal are compared page by page, both ways."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from billing.core import ids
from billing.core.database import Database, open_database
from billing.insight.integrity.schemas import Finding
from billing.matters.schemas import Matter
from cli import workflow_check
from tests.integration.actors import Actors, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.rebuild.test_waiting_rows import lost, rebuild, subscribed
from workflows import start, visibility

CLOSED = """UPDATE matters SET closed_at = at, started_at = at
    FROM (SELECT now() - make_interval(secs => %(ago)s) AS at) AS closing
    WHERE workflow_id = %(name)s RETURNING workflow_id"""


@pytest.fixture
async def database(actors: Actors) -> AsyncIterator[Database]:
    async with open_database(stack_settings(actors.stack)) as database:
        yield database


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow_check, "PAGE", 2)
    monkeypatch.setattr(visibility, "LISTED_TOGETHER", 2)


async def found(database: Database, actors: Actors) -> tuple[Finding, Finding]:
    missing, stray = await workflow_check.compare_workflows(database, actors.temporal)
    assert (missing.name, stray.name) == ("workflows_alive", "workflows_wanted")
    return missing, stray


async def test_a_lost_workflow_and_one_that_nobody_wants_are_named(
    actors: Actors, database: Database
) -> None:
    await rebuild(actors)
    customers = [await subscribed(actors) for _ in range(3)]
    before = await found(database, actors)
    assert [one.violations for one in before] == [0, 0]
    lost_names = [name for _, name in customers[:2]]
    for name in lost_names:
        await lost(actors, name)
    missing, stray = await found(database, actors)
    assert (missing.violations, missing.examples) == (2, tuple(sorted(lost_names)))
    assert stray.ok
    # Their matters are at rest, as if nothing were left to do: now none is missed, one is too many.
    unwanted = customers[2][1]
    kept = await actors.sql(
        "UPDATE matters SET status = 'resting' WHERE workflow_id = ANY(%(names)s)"
        " RETURNING workflow_id", names=lost_names,
    )  # fmt: skip
    assert len(kept) == 2
    await actors.sql(CLOSED, name=unwanted, ago=0)
    _, stray = await found(database, actors)
    assert stray.ok, "its run may be ending"
    await actors.sql(CLOSED, name=unwanted, ago=61)
    missing, stray = await found(database, actors)
    assert missing.ok
    assert (stray.violations, stray.examples) == (1, (unwanted,))
    await actors.sql(
        "UPDATE matters SET status = 'open', closed_at = NULL WHERE workflow_id = ANY(%(names)s)",
        names=[*lost_names, unwanted],
    )
    await rebuild(actors)
    assert [one.ok for one in await found(database, actors)] == [True, True]


async def test_one_that_was_just_woken_is_no_news(actors: Actors, database: Database) -> None:
    await rebuild(actors)
    _, name = await subscribed(actors)
    await lost(actors, name)
    await actors.sql(
        "UPDATE matters SET started_at = NULL, woken_at = now() WHERE workflow_id = %(name)s",
        name=name,
    )
    missing, _ = await found(database, actors)
    assert missing.ok
    await rebuild(actors)


async def test_a_run_whose_rows_a_restore_lost_halts_and_is_named_until_it_is_terminated(
    actors: Actors, database: Database
) -> None:
    await rebuild(actors)
    subject = uuid4()
    name = f"subscription/{ids.encode(ids.SUBSCRIPTION, subject)}"
    unknown = Matter(workflow_id=name, account_id=uuid4(), kind="subscription", subject_id=subject)
    assert await start.begin(actors.temporal, unknown)

    async def halted() -> bool:
        return bool(await visibility.halted_among(actors.temporal, [name]))

    await wait_for(halted, "it halts")
    _, stray = await found(database, actors)
    assert (stray.violations, stray.examples) == (1, (name,))
    await rebuild(actors)
    assert await halted(), "what a rebuild does not know it leaves alone"
    await lost(actors, name)
    assert [one.ok for one in await found(database, actors)] == [True, True]
