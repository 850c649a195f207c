"""An order to go on that is committed is not answered as if nothing had been done."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.service import RPCError, RPCStatusCode

from api.calls import Call
from api.routes.admin import matters as route
from billing.core.errors import BillingError, Unavailable
from billing.matters.schemas import Matter, of_account
from billing.money.invoice_requests import unreached
from workflows import start

NAME: Final = of_account(UUID(int=1)).workflow_id
SILENT: Final = Unavailable("TEMPORAL_UNAVAILABLE", "no worker answers")
BUSY: Final = RPCError("busy", RPCStatusCode.RESOURCE_EXHAUSTED, b"")


class Scene:
    """A matter as the register has it, what waits of it, and what Temporal says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.status = "open"
        self.due: int | Exception = 0
        self.temporal: bool | Exception = False
        self.done: list[str] = []
        for of, name in ((route, "need_temporal"), (route, "_find"), (route, "_read")):
            monkeypatch.setattr(of, name, getattr(self, name.strip("_")))
        monkeypatch.setattr(route, "_record", self.note("recorded"))
        monkeypatch.setattr(route, "wait_until_done", self.note("waited"))
        monkeypatch.setattr(unreached, "waiting_of", self.waiting_of)
        monkeypatch.setattr(unreached, "try_now", self.try_now)
        monkeypatch.setattr(start, "resume", self.resume)

    async def need_temporal(self, _: Call) -> None:
        """It is there when it is asked."""

    async def find(self, *_: Any) -> Matter:
        return of_account(UUID(int=1)).model_copy(update={"status": self.status})

    async def read(self, *_: Any) -> str:
        return "read"

    def note(self, what: str) -> Callable[..., Any]:
        async def noted(*_: Any) -> None:
            self.done.append(what)

        return noted

    async def waiting_of(self, *_: Any) -> list[str]:
        return ["some"]

    async def try_now(self, *_: Any) -> tuple[list[Matter], int]:
        if isinstance(self.due, Exception):
            raise self.due
        return [], self.due

    async def resume(self, *_: Any) -> bool:
        if isinstance(self.temporal, Exception):
            raise self.temporal
        return self.temporal

    @asynccontextmanager
    async def tenant(self, _: UUID) -> AsyncIterator[None]:
        yield

    async def asked(self) -> str:
        call = SimpleNamespace(database=self, temporal=None)
        try:
            return cast(str, await route.resume_matter(NAME, cast(Call, call)))
        except (BillingError, RPCError) as refusal:
            return getattr(refusal, "code", "RPC")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


@pytest.mark.parametrize("failure", [SILENT, BUSY], ids=["no worker", "busy"])
async def test_what_is_ordered_is_waited_for_though_nobody_answers_for_a_halt(
    scene: Scene, failure: Exception
) -> None:
    scene.due, scene.temporal = 1, failure
    assert await scene.asked() == "read"
    assert scene.done == ["waited"], "it was not halted: no resume is recorded"


async def test_a_halt_that_nobody_answers_for_is_told_and_recorded(scene: Scene) -> None:
    scene.status, scene.due, scene.temporal = "halted", 1, SILENT
    assert await scene.asked() == "TEMPORAL_UNAVAILABLE"
    assert scene.done == ["recorded"]


async def test_without_an_order_nor_a_halt_that_is_known_nothing_is_recorded(scene: Scene) -> None:
    scene.temporal = SILENT
    assert await scene.asked() == "TEMPORAL_UNAVAILABLE"
    assert scene.done == []


async def test_a_halt_that_only_temporal_has_is_resumed_beside_an_order(scene: Scene) -> None:
    scene.due, scene.temporal = 1, True
    assert await scene.asked() == "read"
    assert scene.done == ["recorded", "waited"]


async def test_an_invoice_that_is_handed_over_keeps_no_matter_halted(scene: Scene) -> None:
    scene.status, scene.temporal = "halted", True
    scene.due = Unavailable("UNAVAILABLE", "this invoice is being handed over")
    assert await scene.asked() == "read"
    assert scene.done == ["recorded", "waited"]


async def test_where_nothing_is_halted_the_handing_over_is_told(scene: Scene) -> None:
    scene.due = Unavailable("UNAVAILABLE", "this invoice is being handed over")
    assert await scene.asked() == "UNAVAILABLE"
    assert scene.done == []


async def test_where_nothing_is_to_do_the_answer_says_so(scene: Scene) -> None:
    assert await scene.asked() == "MATTER_NOT_HALTED"
