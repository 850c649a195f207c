"""A matter that is born is started, and woken where a birth may find it there."""

from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.client import Client

from billing.matters.kinds import COLLECTION, REVERSAL, MatterKind
from billing.matters.schemas import Matter
from workflows import start


class Temporal:
    """Has every workflow running already."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def get_workflow_handle(self, _: str) -> Any:
        return SimpleNamespace(signal=self._signal)

    async def _signal(self, name: str, **_: Any) -> None:
        self.calls.append(name)

    async def start_workflow(self, *_: Any, **__: Any) -> None:
        self.calls.append("start")


BORN: Final = {REVERSAL: ["changed"], COLLECTION: ["start"]}


@pytest.mark.parametrize("kind", BORN, ids=lambda kind: kind.name)
async def test_one_that_a_birth_may_find_running_is_woken(kind: MatterKind) -> None:
    """A refund of late money waited for the next sweep, where a dispute's matter ran already."""
    temporal, subject = Temporal(), UUID(int=2)
    matter = Matter(
        workflow_id=kind.workflow_id(subject), account_id=UUID(int=1), kind=kind.name,
        subject_id=subject,
    )  # fmt: skip
    await start.start_new(cast(Client, temporal), matter)
    assert temporal.calls == BORN[kind]
