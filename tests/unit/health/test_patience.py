"""A check has as long as it needs, and one that hangs is unknown."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest

from billing.core.settings import Settings
from billing.insight.health.rules import healthy
from billing.insight.health.schemas import Sign
from cli import doctor
from cli.doctor_checks import CHECKS, Patient
from workflows import visibility


async def slow(patient: Patient) -> Iterable[Sign]:
    await asyncio.sleep(0.2)
    return [healthy("slow")]


@pytest.mark.parametrize(
    ("name", "state"),
    [("workflows", "healthy"), ("schedules", "unknown"), ("stripe", "unknown")],
)
async def test_only_the_check_that_goes_through_all_matters_may_take_long(
    monkeypatch: pytest.MonkeyPatch, name: str, state: str
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setitem(CHECKS, name, slow)
    (sign,) = await doctor.signs(Settings(_env_file=None), None, (name,))
    assert sign.state == state, sign.words


async def test_a_page_of_workflows_that_hangs_ends_by_itself() -> None:
    """The check that goes through all of them is given half an hour."""
    ends: list[Any] = []

    class Listing:
        current_page, next_page_token = None, None
        nobody: tuple[str, ...] = ()

        async def fetch_next_page(self) -> None:
            self.current_page = ()

        async def __aiter__(self) -> AsyncIterator[str]:
            for one in self.nobody:
                yield one

    def list_workflows(query: str, **more: Any) -> Listing:
        ends.append(more.get("rpc_timeout"))
        return Listing()

    client = cast(Any, type("Client", (), {"list_workflows": staticmethod(list_workflows)}))
    assert await visibility.running_among(client, ["account/acc_1"]) == set()
    assert [page async for page in visibility.running_matters(client)] == [[]]
    assert len(ends) == 2
    assert all(ends)
