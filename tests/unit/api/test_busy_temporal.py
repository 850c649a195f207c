"""A Temporal that answers late is busy; one that was not heard for a while is away."""

import asyncio
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from api import health_checks
from api.health_checks import HealthChecks, Stack

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
