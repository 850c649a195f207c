"""Stores provider events in batches, and notifies matters after the answer."""

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError

from billing.core.batcher import Batcher
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.failpoints import failpoint
from billing.matters.schemas import Matter
from billing.money.payments import event_owners
from billing.platform.provider_inbox.schemas import ProviderEvent
from workflows import start

NOTIFIED_AT_ONCE: Final = 16
_logger = logging.getLogger("api.inbox")


class Inbox:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher = Batcher(self._store)

    async def receive(self, event: ProviderEvent) -> Matter | None:
        """Store a verified event; return the matter to notify when the event is new and has one."""
        return await self._batcher.do(event)

    async def _store(self, events: Sequence[ProviderEvent]) -> list[Matter | None]:
        async with self._database.operator_statement() as connection:
            return await event_owners.receive(connection, events, "webhook", real_now())


class Notifier:
    """Notifies matters of an event or of changed rows after the answer, a limited number at a time.

    Several waiting reasons become one notification. The sweeper repeats what fails here: the event
    is in the inbox, the matter is due.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Matter, str | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def notify(self, client: Client, matter: Matter, event_id: str) -> None:
        """Queue the notification of an event; a background task that is not async gets a thread."""
        self.queue(client, matter, event_id)

    def queue(self, client: Client, matter: Matter, event_id: str | None = None) -> None:
        """Queue a notification; while tasks are few, none waits for another's answer."""
        self._waiting.setdefault(matter.workflow_id, (matter, event_id))
        if len(self._tasks) < NOTIFIED_AT_ONCE:
            # Outside any request's context: it serves several, and the matter keeps its own id.
            task = asyncio.create_task(self._work(client), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, client: Client) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            matter, event_id = self._waiting.pop(name)
            try:
                await _notify(client, matter, event_id)
            except (RPCError, RuntimeError) as error:
                _logger.warning("%s left to the sweeper: %s", name, type(error).__name__)


async def _notify(client: Client, matter: Matter, event_id: str | None) -> None:
    if event_id is None:
        await start.nudge(client, matter)
        return
    await failpoint("inbox.answered")
    await start.notify_event(client, matter, event_id)
    await failpoint("inbox.told")
