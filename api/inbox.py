"""Provider events on their way in: stored in batches, and their owners told after the answer."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError

from billing.core.batcher import Batcher
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.failpoints import failpoint
from billing.core.matters import Matter
from billing.events import store
from billing.payments.rules import ProviderEvent
from workflows import start

TELLERS: Final = 16
_logger = logging.getLogger("api.inbox")


class Inbox:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher = Batcher(self._store)

    async def receive(self, event: ProviderEvent) -> Matter | None:
        """Store a verified event; the matter to tell, when the event is new and concerns one."""
        return await self._batcher.do(event)

    async def _store(self, events: Sequence[ProviderEvent]) -> list[Matter | None]:
        async with self._database.operator_statement() as connection:
            return await store.receive(connection, events, "webhook", real_now())


class Tellers:
    """Tells matters of their events, a bounded number at a time; several events are one telling.

    What fails is left to the sweeper: the event is in the inbox.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Matter, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def tell(self, client: Client, matter: Matter, event_id: str) -> None:
        """Queue it, and see that somebody works on the queue."""
        self._waiting.setdefault(matter.workflow_id, (matter, event_id))
        if len(self._tasks) < min(TELLERS, len(self._waiting)):
            task = asyncio.create_task(self._work(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, client: Client) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            matter, event_id = self._waiting.pop(name)
            await failpoint("inbox.answered")
            try:
                await start.tell(client, matter, event_id)
                await failpoint("inbox.told")
            except (RPCError, RuntimeError) as error:
                _logger.warning("%s left to the sweeper: %s", name, type(error).__name__)
