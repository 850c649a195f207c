"""Notifications after an answer: several at a time, and none behind one that is slow."""

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from temporalio.client import Client

from api.webhooks.inbox import Notifier
from billing.matters.schemas import Matter
from workflows import start

CLIENT = cast(Client, None)


def matter(name: str) -> Matter:
    return Matter(
        workflow_id=name, account_id=uuid4(), kind="purchase", subject_id=uuid4(), head=None
    )


async def test_a_slow_answer_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    slow, done = asyncio.Event(), asyncio.Event()

    async def notify_event(_: Any, one: Matter, __: str) -> None:
        if one.workflow_id == "slow":
            await slow.wait()
        told.append(one.workflow_id)
        done.set()

    monkeypatch.setattr(start, "notify_event", notify_event)
    notifier = Notifier()
    await notifier.notify(CLIENT, matter("slow"), "evt_1")
    await asyncio.sleep(0)
    await notifier.notify(CLIENT, matter("quick"), "evt_2")
    await asyncio.wait_for(done.wait(), 1)
    assert told == ["quick"]
    slow.set()
