"""A failover that loses commits is told of by the processes that had made them."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, update

from api.monitoring import gauges
from billing.core.database import Database
from billing.insight.health import rules, store
from billing.platform.processes import service
from billing.platform.processes import store as processes
from billing.platform.processes.service import Pulse
from billing.platform.processes.tables import processes as rows


async def sign(database: Database) -> str:
    """The words of the database's sign."""
    async with database.operator() as connection:
        figures = await store.look(connection)
    gauges.show(figures)
    (found,) = (one for one in rules.signs(figures) if one.name == "database")
    return found.words


async def beats(pulse: Pulse, count: int) -> UUID:
    """Let it beat so often; return its id."""
    for _ in range(count):
        await pulse.beat()
    return pulse._own.id


async def set_back(database: Database, process_id: UUID, by: int | None) -> None:
    """Take the last heartbeats of a process away, or all of them."""
    change = delete(rows) if by is None else update(rows).values(beats=rows.c.beats - by)
    async with database.tenant() as connection:
        await connection.execute(change.where(rows.c.id == process_id))


async def leave(database: Database, process_id: UUID) -> None:
    async with database.tenant() as connection:
        await processes.leave(connection, process_id)


@pytest.mark.parametrize("by", [1, 3, None])
async def test_a_process_tells_that_the_database_lacks_what_it_had_committed(
    database: Database, by: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Pulse(database, "worker")
    own = await beats(pulse, 4)
    assert await sign(database) == "takes what is written"
    await set_back(database, own, by)
    await beats(pulse, 2)
    told = await sign(database)
    assert REGISTRY.get_sample_value("billing_database_lacks_commits") == 1
    await beats(pulse, 9)
    lasting = await sign(database)
    await leave(database, own)
    assert told == lasting == f"it lacks commits of {pulse._own.name}: go on as after a restore"
    assert caplog.text.count("the database lacks commits that this process had made") == 1
    assert await sign(database) == "takes what is written"


async def test_heartbeats_at_once_are_no_lost_ones(database: Database) -> None:
    pulse = Pulse(database, "worker")
    await asyncio.gather(*(pulse.beat() for _ in range(20)))
    own = await beats(pulse, 2)
    found = await sign(database)
    await leave(database, own)
    assert found == "takes what is written"


async def test_a_process_that_slept_until_it_was_forgotten_has_lost_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse(database, "worker")
    own = await beats(pulse, 2)
    await set_back(database, own, None)
    monkeypatch.setattr(service, "SURELY_KEPT", timedelta())
    await beats(pulse, 2)
    found = await sign(database)
    await leave(database, own)
    assert found == "takes what is written"
