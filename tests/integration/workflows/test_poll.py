"""The poll of the provider's events goes on from where it stood, however long it was away."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.matter import Dependencies
from activities.sweeper import (
    EVENTS_KEPT,
    FIRST_BACK,
    POLL_BACK,
    POLLED_AT_ONCE,
    SweeperActivities,
)
from billing.core.clock import real_now
from billing.core.database import Database
from billing.platform.jobs import store as jobs
from billing.platform.provider_inbox.schemas import ProviderEvent
from tests.integration.actors import Actors
from tests.integration.api_app import stack_settings
from workflows.contracts import SweepRequest

Span = tuple[datetime, datetime]
LITTLE = timedelta(seconds=30)


class Provider:
    """Keeps what it was asked for; may be away from one question on."""

    def __init__(self, away_after: int = 10_000) -> None:
        self.asked: list[Span] = []
        self.left = away_after

    async def events_between(self, since: datetime, until: datetime) -> list[ProviderEvent]:
        if not self.left:
            raise ApplicationError("the provider is away")
        self.left -= 1
        self.asked.append((since, until))
        return []


class Poll:
    """The job on a real database, with a mark of its own: the stack's own poll has the other."""

    def __init__(self, database: Database, actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mark: dict[str, datetime] = {}
        self._database, self._settings = database, stack_settings(actors.stack)
        monkeypatch.setattr(jobs, "looked_until", self._looked_until)
        monkeypatch.setattr(jobs, "looked", self._looked)
        monkeypatch.setattr(jobs, "begun", self._begun)

    async def run(self, provider: Any) -> None:
        dependencies = Dependencies(
            database=self._database, provider=provider, settings=self._settings
        )
        client: Any = None  # nothing is found, so no workflow is told
        job = SweeperActivities(dependencies, client)
        await ActivityEnvironment().run(job.sweep, SweepRequest(name="poll"))

    async def _looked_until(self, _: Any) -> dict[str, datetime]:
        return dict(self.mark)

    async def _begun(self, _: Any, job: str, since: datetime) -> None:
        self.mark.setdefault(job, since)

    async def _looked(self, _: Any, job: str, until: datetime) -> None:
        self.mark[job] = until


@pytest.fixture
def poll(database: Database, actors: Actors, monkeypatch: pytest.MonkeyPatch) -> Poll:
    return Poll(database, actors, monkeypatch)


async def test_it_asks_for_what_came_since_its_last_run_and_some_of_before(poll: Poll) -> None:
    began = real_now()
    for back in (FIRST_BACK, timedelta()):
        await poll.run(provider := Provider())
        assert abs(provider.asked[0][0] - (began - back - POLL_BACK)) < LITTLE
        assert abs(provider.asked[-1][1] - began) < LITTLE
        assert abs(poll.mark["poll"] - began) < LITTLE


async def test_after_days_away_it_asks_for_all_of_them_and_a_cut_off_run_is_gone_on_with(
    poll: Poll,
) -> None:
    began = real_now()
    poll.mark["poll"] = began - timedelta(days=3)
    with pytest.raises(ApplicationError):
        await poll.run(first := Provider(away_after=4))
    assert poll.mark["poll"] == first.asked[-1][1]
    await poll.run(second := Provider())
    spans = [*first.asked, *second.asked]
    assert spans[0][0] == began - timedelta(days=3) - POLL_BACK
    assert abs(spans[-1][1] - began) < LITTLE
    assert all(later[0] <= earlier[1] for earlier, later in pairwise(spans))
    assert all(until - since <= POLLED_AT_ONCE for since, until in spans)


async def test_it_asks_for_nothing_that_the_provider_no_longer_keeps(poll: Poll) -> None:
    began = real_now()
    poll.mark["poll"] = began - timedelta(days=90)
    await poll.run(provider := Provider())
    assert abs(provider.asked[0][0] - (began - EVENTS_KEPT)) < LITTLE
