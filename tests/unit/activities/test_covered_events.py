"""A look covers the events that the database received before it, whatever the worker's clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from temporalio import activity

from activities import notifying
from activities.decisions import DecidingActivities
from billing.core.clock import real_now
from billing.money.refunds.calls import SurveyAnswer, SurveyCall
from billing.money.refunds.rules import Taken
from billing.platform.decisions import service
from billing.platform.decisions.service import Done

READ_AT = real_now() - timedelta(minutes=1)
"""By the database, before the call; the clock of the worker is ahead."""
CALL = SurveyCall(cast("Any", None))


class Databases:
    """One whose answers are put in by the test."""

    @asynccontextmanager
    async def deciding(self, _: UUID) -> AsyncIterator[Any]:
        yield None


async def make(call: SurveyCall) -> SurveyAnswer:
    return SurveyAnswer(call, Taken(), real_now())


async def test_the_instant_of_a_look_is_the_databases_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[SurveyAnswer | None] = []

    async def decide(*values: Any, **_: Any) -> Done[Any]:
        given.append(values[4])
        call = CALL if values[4] is None else None
        return Done(cast("Any", None), call=call, read_at=READ_AT)

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(service, "decide", decide)
    monkeypatch.setattr(activity, "client", lambda: None)
    monkeypatch.setattr(notifying, "start_new", nothing)
    monkeypatch.setattr(notifying, "nudge", nothing)
    made: Any = DecidingActivities.__new__(DecidingActivities)
    made.engine = SimpleNamespace(asking=frozenset())
    made.database, made.calls = Databases(), SimpleNamespace(make=make)
    made.billing_enabled, made.has_live_stripe = True, False
    monkeypatch.setattr(made, "after", nothing, raising=False)
    request = SimpleNamespace(
        step=SimpleNamespace(name="check"), ref=SimpleNamespace(account_id=UUID(int=1))
    )
    await made._step(request)
    (_, answer) = given
    assert answer is not None
    assert answer.asked_at == READ_AT
