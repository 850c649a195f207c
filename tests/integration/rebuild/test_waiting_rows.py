"""A matter whose rows say all is rebuilt without reading them: it waits, is woken, renews."""

import asyncio
import json
from datetime import timedelta
from typing import Any, Final, cast

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.scheduled_jobs import ScheduledJobs
from billing.core.database import open_database
from billing.matters.store import show
from cli import rebuild as rebuilding
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.api_app import stack_settings
from tests.replay.payloads import steps_at_once
from workflows import start
from workflows.attributes import BILLING_STATUS, PLAN
from workflows.contracts import JobRequest
from workflows.policies import TEST

DUE: Final = """
    UPDATE subscriptions SET period_number = -1,
        current_period_start = clock_timestamp() - interval '1 month',
        current_period_end = clock_timestamp() + interval '8 s',
        cycle_end = clock_timestamp() + interval '8 s',
        anchor_wall = (clock_timestamp() + interval '8 s') AT TIME ZONE 'UTC'
    WHERE account_id = %(me)s
"""
PLANNED: Final = """
    SELECT 1 FROM matters WHERE account_id = %(me)s AND kind = 'subscription'
        AND next_due < now() + interval '8 s' AND started_at IS NOT NULL
"""


async def steps(actors: Actors, name: str) -> list[str]:
    """The steps of its newest run, which ran within its own tasks."""
    history = await actors.temporal.get_workflow_handle(name).fetch_history()
    return steps_at_once(json.loads(history.to_json())["events"])


async def lost(actors: Actors, name: str) -> None:
    """Its workflow is terminated, and Temporal's list knows it."""
    await actors.temporal.get_workflow_handle(name).terminate("lost")
    query = f"ExecutionStatus = 'Running' AND WorkflowId = '{name}'"

    async def gone() -> bool:
        return [one async for one in actors.temporal.list_workflows(query)] == []

    await wait_for(gone, "the list knows that it is gone")


async def run_of(actors: Actors, name: str) -> str | None:
    described = await actors.temporal.get_workflow_handle(name).describe()
    return described.run_id if described.status == WorkflowExecutionStatus.RUNNING else None


async def subscribed(actors: Actors) -> tuple[Customer, str]:
    customer = await actors.customer()
    active = await customer.subscribed("pro")
    return customer, f"subscription/{active['subscription_id']}"


async def rebuild(actors: Actors) -> rebuilding.Rebuilt:
    return await rebuilding.rebuild(stack_settings(actors.stack), lambda *_: None, 0)


async def test_a_renewal_comes_on_time_without_a_look_before(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "FAR", timedelta())
    customer, name = await subscribed(actors)
    await customer.rows(DUE)
    await actors.temporal.get_workflow_handle(name).signal("changed")
    await wait_for(lambda: customer.rows(PLANNED), "the renewal is planned")
    await lost(actors, name)
    done = await rebuild(actors)
    assert (done.started, done.late) == (1, ())
    attributes = (
        await actors.temporal.get_workflow_handle(name).describe()
    ).typed_search_attributes
    assert (attributes.get(BILLING_STATUS), attributes.get(PLAN)) == ("active", "pro")
    assert await steps(actors, name) == []

    async def paid() -> bool:
        return [one["status"] for one in await customer.invoices()] == ["paid", "paid"]

    await wait_for(paid, "the renewal is paid")

    async def told() -> bool:  # its task ends a moment after the rows are there
        return await steps(actors, name) == ["subscription.renew"]

    await wait_for(told, "the renewal is the one step of its history")


async def asleep(actors: Actors) -> tuple[Customer, str]:
    """A subscription that was rebuilt, and of which no worker has seen a task yet."""
    customer, name = await subscribed(actors)
    await customer.until_handled("payment_intent.succeeded")
    await lost(actors, name)
    done = await rebuild(actors)
    assert (done.started, done.late) == (1, ())
    assert await event_types(actors, name) == ["WorkflowExecutionStarted"]
    return customer, name


async def event_types(actors: Actors, name: str) -> list[str]:
    events = actors.temporal.get_workflow_handle(name).fetch_history_events()
    prefix = "EVENT_TYPE_"
    names = [EventType.Name(event.event_type).removeprefix(prefix) async for event in events]
    return [one.title().replace("_", "") for one in names]


async def test_one_that_sleeps_costs_no_task_and_says_in_words_where_it_stands(
    actors: Actors,
) -> None:
    _, name = await asleep(actors)
    described = await actors.temporal.get_workflow_handle(name).describe()
    words = await described.static_details() or ""
    assert words.startswith("rebuilt, and slept until its next step, which was: "), words
    assert "**active** Pro, 49.00 USD: renew on" in words, words


async def test_the_sweep_wakes_one_that_sleeps(actors: Actors) -> None:
    """An API process may die between its commit and the call."""
    customer, name = await asleep(actors)
    await customer.rows(
        "UPDATE matters SET started_at = NULL, woken_at = now() - interval '1 hour',"
        " next_step = NULL, next_due = now() WHERE account_id = %(me)s AND kind = 'subscription'"
    )

    async def looked() -> bool:  # twice if the sweep comes so late that it is overdue as well
        return set(await steps(actors, name)) == {"subscription.load"}

    await wait_for(looked, "it has looked at its rows")


async def test_one_that_sleeps_hears_an_event_of_the_provider(actors: Actors) -> None:
    customer, name = await asleep(actors)
    (matter,) = await customer.rows(
        "SELECT * FROM matters WHERE account_id = %(me)s AND kind = 'subscription'"
    )
    await start.notify_event(actors.temporal, show(matter), "evt_that_nobody_knows")

    async def looked() -> bool:
        return len(await steps(actors, name)) > 0

    await wait_for(looked, "it has looked into the event")


async def test_one_that_sleeps_hears_what_its_customer_wants(actors: Actors) -> None:
    customer, name = await asleep(actors)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.until_subscription("canceled")
    await actors.temporal.get_workflow_handle(name).result()
    assert "subscription.load" in await steps(actors, name)


async def test_one_that_has_yet_to_look_is_waited_for(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy worker may have taken its task, and have it for longer than an empty queue says.
    monkeypatch.setattr(rebuilding, "QUIET_SECONDS", rebuilding.PATIENCE_SECONDS)
    customer, name = await subscribed(actors)
    await customer.until_handled("payment_intent.succeeded")  # no event wakes it as well
    await lost(actors, name)
    await customer.rows(
        "UPDATE matters SET next_step = NULL, next_due = now() WHERE account_id = %(me)s"
        " AND kind = 'subscription'"
    )
    done = await rebuild(actors)
    assert (done.started, done.late) == (1, ())

    async def told() -> bool:  # its task ends a moment after the rows say that it has looked
        return await steps(actors, name) == ["subscription.load"]

    await wait_for(told, "its look is the one step of its history")


async def test_what_runs_is_found_by_pages_of_temporals_list(actors: Actors) -> None:
    await subscribed(actors)
    done = await rebuild(actors)
    assert (done.started, done.found) == (0, done.open_matters)
    assert done.found >= 1


async def test_the_daily_job_starts_what_is_missing_and_leaves_alone_what_runs(
    actors: Actors,
) -> None:
    customer, first = await subscribed(actors)
    other, second = await subscribed(actors)
    for one in (customer, other):
        await one.until_handled("payment_intent.succeeded")  # no event wakes it meanwhile
    runs = {name: await run_of(actors, name) for name in (first, second)}
    await lost(actors, min(first, second))
    settings = stack_settings(actors.stack)
    async with open_database(settings) as database:
        parts = Dependencies(database=database, provider=cast(Any, None), settings=settings)
        job = ScheduledJobs(parts, actors.temporal)
        report = await ActivityEnvironment().run(
            job.run, JobRequest(name="ensure-running", limit=1)
        )
    assert (report.counts["started"], report.counts["failed"]) == (1, 0), report.counts
    assert report.counts["open"] >= len(runs), "those that run are counted, too"
    assert await run_of(actors, min(first, second)) != runs[min(first, second)]
    assert await run_of(actors, max(first, second)) == runs[max(first, second)]


async def test_a_worker_that_starts_anew_wakes_nobody(actors: Actors) -> None:
    customer, name = await subscribed(actors)
    await customer.until_handled("payment_intent.succeeded")
    handle = actors.temporal.get_workflow_handle(name)

    async def events() -> int:
        return len([event async for event in handle.fetch_history_events()])

    async def quiet() -> bool:
        before = await events()
        await asyncio.sleep(1)
        return await events() == before

    await wait_for(quiet, "nothing is under way")
    before = await events()
    await actors.control.stop("worker")
    await actors.control.start("worker")
    await asyncio.sleep(TEST.sweep_every.total_seconds() + 1)  # a sweep of the new one, too
    assert await events() == before
