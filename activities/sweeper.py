"""Scheduled safety nets: matters left by a crash, missed notifications and overdue steps.

Each job is one bounded pass; the schedules repeat it (workflows/schedules.py).
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity
from temporalio.client import Client

from activities import resting, retention, telling
from activities.dependencies import Dependencies
from activities.paged_scan import Page, drain, drain_along, each_apart, pass_over
from activities.signs_of_life import heartbeating
from billing.core.clock import real_now
from billing.core.database_errors import database_is_away
from billing.insight.integrity import hourly
from billing.insight.rounds import store as rounds
from billing.matters import sweeps
from billing.matters.schemas import Matter
from billing.metering.quotas import counter_rebuild as quota_counters
from billing.metering.usage import counter_rebuild, months
from billing.metering.usage.counter_rebuild import LastCycle
from billing.money.payments import event_owners
from billing.money.purchases import store as purchases
from billing.money.subscriptions import thresholds
from billing.platform.accounts import store as accounts
from billing.platform.idempotency import store as idempotency
from billing.platform.jobs import store as jobs
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.schemas import ProviderEvent, Waiting
from billing.platform.rates import store as rates
from workflows import start, visibility
from workflows.attributes import HALTED
from workflows.contracts import SweepReport, SweepRequest
from workflows.policies import POLICIES

# The first poll reads this far back.
FIRST_BACK: Final = timedelta(hours=2)
# An event may appear in the list some time after it was created.
POLL_BACK: Final = timedelta(minutes=15)
# Stripe keeps events for this long.
EVENTS_KEPT: Final = timedelta(days=30)
PARK_AFTER: Final = timedelta(hours=24)
ARCHIVE_AFTER: Final = timedelta(days=90)
# The longest window of a rate limit.
RATES_KEPT: Final = timedelta(days=1)
Counts = dict[str, int]
T = TypeVar("T")
Found = Callable[[AsyncConnection], Awaitable[Sequence[T]]]
_logger = logging.getLogger("activities.sweeper")


class SweeperActivities:
    """The jobs of the schedules."""

    def __init__(self, dependencies: Dependencies, client: Client) -> None:
        self.database = dependencies.database
        self.provider = dependencies.provider
        self.settings = dependencies.settings
        self.client = client
        self.jobs: dict[str, Callable[[int], Awaitable[Counts]]] = {
            "sweep": self._sweep,
            "poll": self._poll,
            "ensure-running": self._ensure_running,
            "housekeeping": self._housekeeping,
            "integrity": self._integrity,
            "usage-sync": self._usage_sync,
        }

    @activity.defn(name="sweeper.sweep")
    async def sweep(self, request: SweepRequest) -> SweepReport:
        began = real_now()
        first = began - FIRST_BACK if request.name == "poll" else began
        async with self.database.operator() as connection:
            await jobs.begun(connection, request.name, first)
        counts = await self.jobs[request.name](request.limit)
        async with self.database.operator() as connection:
            await jobs.looked(connection, request.name, began)
        return SweepReport(counts=counts)

    @heartbeating()
    async def _sweep(self, limit: int) -> Counts:
        """Wake matters that were never started or notified, that rest, or are halted without a run
        or with something else to do; handle overdue steps, thresholds, events and clock walks. No
        part waits for another.
        """
        now = real_now()
        left, late = now - POLICIES.left_behind, now - POLICIES.overdue
        return await each_apart(
            {
                # First: nothing else starts what rests.
                "rested": lambda: resting.wake(self.database, self.client, limit),
                "left_behind": lambda: self._nudge(lambda c: sweeps.left_behind(c, left, limit)),
                "halted_left_behind": lambda: self._nudge(
                    lambda c: sweeps.halted_left_behind(c, left, limit)
                ),
                "overdue": lambda: self._hurry(late, limit),
                "thresholds": lambda: self._nudge(lambda c: thresholds.waiting(c, limit)),
                "walks": self._walk,
                "halted": lambda: self._begin_halted(limit),
                "echoes": lambda: self._handle_echoes(left, limit),
                "strays": lambda: self._dispatch_each(
                    lambda c: inbox.unmatched(c, left, now, limit)
                ),
                "events": lambda: self._dispatch_each(lambda c: inbox.waiting(c, left, limit)),
            }
        )

    async def _nudge(self, page: Found[Matter]) -> int:
        async with self.database.operator() as connection:
            found = await page(connection)
        return await telling.nudge(self.client, found)

    async def _hurry(self, due_before: datetime, limit: int) -> int:
        """Wake overdue matters. Of these, free the halted ones: the register has a halted matter as
        open only if the database was away as it halted.
        """
        async with self.database.operator() as connection:
            found = await sweeps.overdue(connection, due_before, limit)
        names = [matter.workflow_id for matter in found]
        halted = await telling.tried(visibility.halted_among(self.client, names)) or ()
        return await telling.nudge(
            self.client,
            (
                one.model_copy(update={"status": HALTED}) if one.workflow_id in halted else one
                for one in found
            ),
        )

    async def _walk(self) -> int:
        """Start the walks whose requests failed to start them; nothing else does."""
        async with self.database.operator() as connection:
            walking = await accounts.advancing(connection)
        return await telling.call_each(
            partial(start.walk, self.client, account_id, is_new=False) for account_id in walking
        )

    async def _handle_echoes(self, received_before: datetime, limit: int) -> int:
        async with self.database.operator() as connection:
            return await event_owners.handle_echoes(connection, received_before, limit)

    async def _dispatch_each(self, page: Found[Waiting]) -> int:
        """Notify the owners of leftover events; return how many.

        An event whose owner's row is locked waits for the next run, with all others of this owner.
        """
        async with self.database.operator() as connection:
            found = await page(connection)
        stuck, notified = set[str](), 0
        for event in found:
            if event.workflow_id in stuck:
                continue
            try:
                notified += await telling.tried(self._dispatch(event)) or 0
            except SQLAlchemyError as error:
                if database_is_away(error):
                    raise
                _logger.exception("event %s could not be dispatched", event.event_id)
                stuck |= {event.workflow_id} if event.workflow_id else set()
        return notified

    async def _begin_halted(self, limit: int) -> int:
        """Restart halted matters whose run was terminated, from their rows. Return how many.

        Other halted matters retry by themselves.
        """
        after, asked = "", 0
        while True:
            async with self.database.operator() as connection:
                found = await sweeps.halted_page(connection, after, limit)
            missing = await telling.tried(self._without_run(found))
            if not found or missing is None:
                return asked
            asked += await telling.begin(self.client, missing)
            after = found[-1].workflow_id

    async def _without_run(self, found: Sequence[Matter]) -> list[Matter]:
        names = [matter.workflow_id for matter in found]
        running = await visibility.running_among(self.client, names)
        return [matter for matter in found if matter.workflow_id not in running]

    @heartbeating()
    async def _poll(self, limit: int) -> Counts:
        """Read Stripe's events since shortly before the last run; the inbox recognizes new ones.
        After an outage the poll continues where it stopped.
        """
        now, missed = real_now(), 0
        async with self.database.operator() as connection:
            known = await jobs.looked_until(connection)
        since = max(known["poll"] - POLL_BACK, now - EVENTS_KEPT)
        async for page in self.provider.events_between(since, now):
            missed += await self._take_in(page.events)
            if page.until is not None:
                # The next run looks back by POLL_BACK, which this page needs only near `now`.
                async with self.database.operator() as connection:
                    await jobs.looked(connection, "poll", min(page.until + POLL_BACK, now))
        return {"never_came": missed}

    async def _take_in(self, page: Sequence[ProviderEvent]) -> int:
        """Store a page, notify the owners of events that never came by webhook, and count these.

        Nearly all came: they are left out by their ids, because an insert would lock each row.
        """
        names = [event.event_id for event in page]
        async with self.database.operator() as connection:
            known = await inbox.known_among(connection, names) if names else set()
        page = [event for event in page if event.event_id not in known]
        owners = await self._received(page) if page else []
        missed = [
            partial(start.notify_event, self.client, owner, event.event_id)
            for event, owner in zip(page, owners, strict=True)
            if owner is not None
        ]
        await telling.call_each(missed)
        return len(missed)

    async def _received(self, page: Sequence[ProviderEvent]) -> Sequence[Matter | None]:
        """Store a page; skip an event that no column can hold, and log its id."""
        try:
            async with self.database.operator() as connection:
                return await event_owners.receive(connection, page, "poll", real_now())
        except DataError as error:
            if len(page) == 1:
                _logger.error("event %s cannot be stored: %s", page[0].event_id, error.orig)
                return [None]
        half = len(page) // 2
        return [*await self._received(page[:half]), *await self._received(page[half:])]

    async def _ensure_running(self, limit: int) -> Counts:
        """Start the missing workflows of open matters from their rows."""

        async def page(after: str) -> Page[Matter]:
            async with self.database.operator() as connection:
                found = await sweeps.open_page(connection, after, limit)
            last = found[-1].workflow_id if found else ""
            return Page(await self._without_run(found), read=len(found), last=last)

        async def begin(matter: Matter) -> int:
            return int(await start.begin(self.client, matter))

        passed = await pass_over(page, lambda matter: matter.workflow_id, begin)
        return {"open": passed.seen, "started": passed.found, "failed": passed.failed}

    async def _housekeeping(self, limit: int) -> Counts:
        """Create the next months' tables; delete old idempotency keys [P10] and rate windows;
        archive old purchases [E14]; delete data past its retention settings.
        """
        now = real_now()
        return await each_apart(
            {
                # First: a use in a month without a table would be refused.
                "months_made": self._make_months,
                "keys_purged": lambda: drain(
                    self.database, lambda connection: idempotency.purge(connection, now)
                ),
                "purchases_archived": lambda: drain(
                    self.database,
                    lambda connection: purchases.archive(connection, ARCHIVE_AFTER, now),
                ),
                "rates_forgotten": lambda: drain_along(
                    self.database,
                    lambda connection, after: rates.purge(connection, RATES_KEPT, after),
                    after="",
                ),
            }
            | retention.parts(self.database, self.settings, now)
        )

    async def _make_months(self) -> int:
        async with self.database.operator() as connection:
            return await months.make(connection)

    async def _integrity(self, limit: int) -> Counts:
        """Check accounts that changed and some in rotation; log broken invariants as errors."""
        after, seen, unseen = activity.info().heartbeat_details or (str(UUID(int=0)), 0, 0)
        if not activity.info().heartbeat_details:
            await hourly.note(self.database, min(limit, rounds.AT_LEAST))
        while accounts := await hourly.page(self.database, UUID(after), limit):
            async with heartbeating(after, seen, unseen):
                looked = await hourly.look(self.database, accounts)
            seen, unseen = seen + looked, unseen + len(accounts) - looked
            after = str(accounts[-1])
            activity.heartbeat(after, seen, unseen)
        async with heartbeating(after, seen, unseen):
            report = await hourly.conclude(self.database, seen, unseen)
        for finding in report.wrong:
            _logger.error(
                "the books are wrong: %s (%s): %d, such as %s",
                finding.sentence,
                finding.name,
                finding.violations,
                ", ".join(finding.examples),
            )
        counts = {"checks": len(report.checks), "accounts": seen, "unseen": unseen}
        return counts | {one.name: one.violations for one in report.wrong}

    async def _usage_sync(self, limit: int) -> Counts:
        """Compare usage counters with records over the last cycle (if it is large, the last days),
        and repair wrong ones, for accounts that changed and some in rotation.
        """
        if not activity.info().heartbeat_details:
            async with self.database.operator() as connection:
                await rounds.note(
                    connection, "usage-sync", rounds.USAGE, min(limit, rounds.AT_LEAST)
                )

        def name(found: LastCycle) -> str:
            return str(found.account_id)

        async def page(after: str) -> Page[LastCycle]:
            async with self.database.operator() as connection:
                place = UUID(after) if after else UUID(int=0)
                noted = await rounds.page(connection, "usage-sync", place, limit)
                return Page.whole(await counter_rebuild.last_cycles(connection, noted), name)

        async def mend(found: LastCycle) -> int:
            account_id, began = found.account_id, real_now()
            wrong = await counter_rebuild.sync(self.database, found)
            if wrong:
                _logger.error("usage counters of %s were wrong: %s", account_id, wrong[:3])
            if found.is_whole and await quota_counters.compare(self.database, account_id):
                quotas = await quota_counters.rebuild(self.database, account_id)
                _logger.error("quotas of %s were wrong: %s", account_id, quotas[:3])
                wrong = [*wrong, *quotas]
            async with self.database.operator() as connection:
                await rounds.record(connection, "usage-sync", (account_id,), began, {})
            return len(wrong)

        passed = await pass_over(page, name, mend)
        return {
            "accounts": passed.seen, "counters_mended": passed.found, "failed": passed.failed,
        }  # fmt: skip

    async def _dispatch(self, event: Waiting) -> int:
        """Notify the event's owner; park an event that has no owner after a day."""
        async with self.database.operator() as connection:
            try:
                owner = await event_owners.find_owner(connection, event)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                await inbox.park(connection, event.event_id, f"unreadable: {error!r}"[:200])
                return 0
            if owner is None:
                if event.received_at < real_now() - PARK_AFTER:
                    await inbox.park(connection, event.event_id, "no owner within 24 h")
                return 0
        await start.notify_event(self.client, owner, event.event_id)
        return 1
