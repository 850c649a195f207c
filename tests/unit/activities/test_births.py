"""A matter that is born is started, and woken where a birth may find it there."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.client import Client

from billing.core.clock import real_now
from billing.matters import store as matters
from billing.matters.agenda import Step
from billing.matters.effects import Bear
from billing.matters.kinds import COLLECTION, REVERSAL, TRIAL, MatterKind
from billing.matters.schemas import Matter
from workflows import start
from workflows.contracts import MatterRef


class Temporal:
    """Has every workflow running already."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.begun: list[MatterRef] = []

    def get_workflow_handle(self, _: str) -> Any:
        return SimpleNamespace(signal=self._signal)

    async def _signal(self, name: str, **_: Any) -> None:
        self.calls.append(name)

    async def start_workflow(self, _: str, ref: MatterRef, **__: Any) -> None:
        self.calls.append("start")
        self.begun.append(ref)


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


@pytest.mark.parametrize("days", [0, 14])
async def test_a_run_is_given_a_step_only_if_it_is_due(days: int) -> None:
    """One that is due in weeks was asked for at once, refused, and done a second late."""
    temporal, account = Temporal(), UUID(int=1)
    first = Step(name="expire", due=real_now() + timedelta(days=days), key="k", words="end it")
    matter = matters.of_birth(Bear(TRIAL, account, account, first))
    assert matter.head is not None
    assert matter.head.due == first.due
    await start.start_new(cast(Client, temporal), matter)
    assert [ref.head for ref in temporal.begun] == [None if days else first]
