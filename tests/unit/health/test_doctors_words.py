"""The doctor's marks and words about what is neither well nor away."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.service import RPCError, RPCStatusCode

from billing.core.settings import Settings
from billing.insight.health.schemas import Sign
from billing.platform.accounts import clocks
from cli import doctor, doctor_checks
from cli.doctor_checks import CHECKS, Patient


class _Database:
    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        yield


class _Anybody:
    database = _Database()


@pytest.mark.parametrize(
    ("found", "state"), [([], "healthy"), (["acc_1: account/acc_1 is still busy"], "unhealthy")]
)
async def test_a_blocked_test_clock_is_not_marked_as_well(
    found: list[str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blocked(_: Any, __: int) -> list[str]:
        return found

    monkeypatch.setattr(clocks, "blocked", blocked)
    (sign,) = await doctor_checks.test_clocks(cast(Patient, _Anybody()))
    assert sign.state == state
    assert all(one in sign.words for one in found)


@pytest.mark.parametrize("name", ["temporal", "schedules"])
async def test_a_server_that_limits_our_rate_is_up(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def limited(_: Patient) -> Iterable[Sign]:
        raise RPCError("namespace rate limit exceeded", RPCStatusCode.RESOURCE_EXHAUSTED, b"")

    monkeypatch.setitem(CHECKS, name, limited)
    (sign,) = await doctor.signs(Settings(_env_file=None), None, (name,))
    assert (sign.name, sign.state) == (name, "unknown")
    assert sign.words == "Temporal is up, and limits our calls: namespace rate limit exceeded"
    assert sign.page == "docs/runbook.md#temporal"
