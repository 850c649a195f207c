"""The poll of the provider's events goes on from where it stood, however long it was away."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.polling import EVENTS_KEPT, FIRST_BACK, POLL_BACK
from activities.scheduled_jobs import ScheduledJobs
from billing.core.clock import real_now
from billing.core.database import Database
from billing.platform.jobs import store as jobs
from billing.platform.provider_inbox.webhooks import PAYMENT_EVENTS
from gateways import events, list_limits
from gateways.provider import EventPage
from gateways.stripe import StripeGateway
from tests.integration.actors import Actors
from tests.integration.api_app import stack_settings
from tests.integration.wrong_clock import wrong_clock
from workflows.contracts import JobRequest

Span = tuple[datetime, datetime]
LITTLE = timedelta(seconds=30)


class Provider:
    """Answers by spans, keeps what it was asked for, and may be away after some of them."""

    def __init__(self, away_after: int = 10_000, span: timedelta = timedelta(days=1)) -> None:
        self.span = span
        self.asked: list[Span] = []
        self.told: list[datetime] = []
        self.left = away_after

    async def events_between(self, since: datetime, until: datetime) -> AsyncIterator[EventPage]:
        self.asked.append((since, until))
        while since < until:
            if not self.left:
                raise ApplicationError("the provider is away")
            self.left -= 1
            yield EventPage(())
            since = min(since + self.span, until)
            self.told.append(since)
            yield EventPage((), until=since)


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
        job = ScheduledJobs(dependencies, client)
        await ActivityEnvironment().run(job.run, JobRequest(name="poll"))

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
        await poll.run(first := Provider(away_after=2))
    assert first.asked[0][0] == began - timedelta(days=3) - POLL_BACK
    await poll.run(second := Provider())
    assert second.asked[0][0] == first.told[-1], "what was read already was old, too"
    assert abs(second.asked[0][1] - began) < LITTLE


async def test_what_may_yet_show_is_asked_for_again_after_a_cut(poll: Poll) -> None:
    began = real_now()
    poll.mark["poll"] = began - timedelta(hours=1)
    with pytest.raises(ApplicationError):
        await poll.run(first := Provider(away_after=13, span=timedelta(minutes=5)))
    assert abs(began - first.told[-1] - timedelta(minutes=10)) < LITTLE
    await poll.run(second := Provider())
    assert abs(second.asked[0][0] - (began - POLL_BACK)) < LITTLE


async def test_it_asks_for_nothing_that_the_provider_no_longer_keeps(poll: Poll) -> None:
    began = real_now()
    poll.mark["poll"] = began - timedelta(days=90)
    await poll.run(provider := Provider())
    assert abs(provider.asked[0][0] - (began - EVENTS_KEPT)) < LITTLE


async def test_what_came_while_the_clock_was_ahead_is_asked_for(poll: Poll) -> None:
    began = real_now()
    with wrong_clock(timedelta(hours=1)):
        await poll.run(Provider())
    assert poll.mark["poll"] <= real_now(), "nothing after that was read"
    await poll.run(provider := Provider())
    assert provider.asked[0][0] <= began
    assert abs(provider.asked[-1][1] - real_now()) < LITTLE


async def test_events_that_came_are_not_written_again(poll: Poll, actors: Actors) -> None:
    settings = stack_settings(actors.stack)
    gateway = StripeGateway(settings.stripe_secret_key.get_secret_value(), settings.stripe_api_base)
    poll.mark["poll"] = real_now() + POLL_BACK
    customer = await actors.customer()
    await customer.bought("small")
    rows = (
        "SELECT stripe_event_id, ctid::text, xmax::text FROM stripe_webhook_events"
        " WHERE account_id = %(me)s AND status IN ('handled', 'ignored') ORDER BY 1"
    )
    stored = await customer.rows(rows)
    await poll.run(gateway)
    await gateway.close()
    assert stored
    assert await customer.rows(rows) == stored


async def test_a_page_at_a_time_is_read_of_what_matters_act_on(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = real_now() - timedelta(minutes=1)
    customer = await actors.customer()
    for _ in range(2):
        await customer.bought("small")
    monkeypatch.setattr(list_limits, "PAGE", 1)
    settings = stack_settings(actors.stack)
    gateway = StripeGateway(settings.stripe_secret_key.get_secret_value(), settings.stripe_api_base)
    pages = [page async for page in gateway.events_between(began, real_now())]
    await gateway.close()
    found = [event for page in pages for event in events.readable(page.events)]
    paid = await customer.rows(
        "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
    )
    succeeded = [one.object_id for one in found if one.type == "payment_intent.succeeded"]
    assert {one["id"] for one in paid} <= set(succeeded)
    assert {one.type for one in found} <= PAYMENT_EVENTS
    assert len({one.event_id for one in found}) == len(found)
    assert max(len(page.events) for page in pages) <= len(events.GROUPS)
