"""A Temporal that answers late is busy; one that was not heard for a while is away."""

import asyncio
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from sqlalchemy.exc import SQLAlchemyError

from api.monitoring import gauges, health_checks
from api.monitoring.health_checks import HealthChecks, Stack

PATIENCE: Final = 0.02
BUSY: Final = 0.3


class Temporal:
    """Answers when asked for its health, or not at all."""

    def __init__(self) -> None:
        self.is_silent = False
        self.service_client = self

    async def check_health(self) -> None:
        if self.is_silent:
            await asyncio.Event().wait()


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> Temporal:
    monkeypatch.setattr(health_checks, "CHECK_SECONDS", PATIENCE)
    monkeypatch.setattr(health_checks, "REMEMBER_SECONDS", 0.0)
    monkeypatch.setattr(health_checks, "BUSY_SECONDS", BUSY)
    return Temporal()


async def test_late_answers_count_as_there_for_a_while(temporal: Temporal) -> None:
    checks, stack = HealthChecks(), cast(Stack, SimpleNamespace(temporal=temporal))

    async def status() -> Any:
        return (await checks.part(stack, "temporal")).status

    assert await status() == "healthy"
    temporal.is_silent = True
    assert await status() == "healthy"
    await asyncio.sleep(BUSY)
    assert await status() == "unhealthy"
    temporal.is_silent = False
    assert await status() == "healthy"


async def test_one_that_never_answered_is_away(temporal: Temporal) -> None:
    temporal.is_silent = True
    stack = cast(Stack, SimpleNamespace(temporal=temporal))
    assert (await HealthChecks().part(stack, "temporal")).status == "unhealthy"


async def test_a_gauge_says_whether_it_is_there(
    temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Database:
        def operator(self) -> None:
            raise SQLAlchemyError("it is not asked here")

    monkeypatch.setattr(gauges, "EVERY_SECONDS", PATIENCE)
    stack = cast(Stack, SimpleNamespace(temporal=temporal, database=Database()))

    shown = asyncio.Queue[bool]()
    monkeypatch.setattr(gauges, "TEMPORAL", SimpleNamespace(set=shown.put_nowait))
    async with asyncio.timeout(20 * BUSY), gauges.gauging(stack, HealthChecks()):
        assert await shown.get()
        temporal.is_silent = True
        while await shown.get():
            pass
