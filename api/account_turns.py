"""Long reads of usage take turns in their API process: however many one account asks for, and
however long they are, they keep no other request waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from uuid import UUID

from api.identity.request_windows import RateLimited
from billing.core.errors import Unavailable

OF_ONE: Final = 10
"""Reads of one account that may be under way; one of them at a time works on a page."""
OF_ALL: Final = 50
"""Reports of all accounts that may be under way."""
AT_ONCE: Final = 2
"""Pages that are worked on at once, of different accounts."""


class _Line:
    """The reads of one account, whose pages are worked on one after the other."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.reads = 0


class AccountTurns:
    """The reads of one kind, such as reports, that are under way. A slow reader keeps its report
    under way, but no turn; one that does not read is dropped (`api/edge/slow_clients.py`).
    """

    def __init__(self, kind: str, of_all: int | None = None) -> None:
        self._kind = kind
        self._of_all = of_all
        self._pages = asyncio.Semaphore(AT_ONCE)
        self._lines: dict[UUID, _Line] = {}

    @contextmanager
    def read(self, account_id: UUID) -> Iterator[None]:
        """Count one read from its beginning to its end. Errors: RATE_LIMITED, UNAVAILABLE."""
        line = self._lines.get(account_id) or _Line()
        if line.reads >= OF_ONE:
            words = f"{OF_ONE} {self._kind} of this account, or of all together, are under way"
            raise RateLimited("RATE_LIMITED", words, retry_after=2)
        reads = sum(one.reads for one in self._lines.values())
        if self._of_all is not None and reads >= self._of_all:
            raise Unavailable("UNAVAILABLE", f"{self._of_all} {self._kind} are under way")
        self._lines[account_id] = line
        line.reads += 1
        try:
            yield
        finally:
            line.reads -= 1
            if not line.reads:
                del self._lines[account_id]

    @asynccontextmanager
    async def page(self, account_id: UUID) -> AsyncIterator[None]:
        """Wait for the turn of one page of a read under way."""
        async with self._lines[account_id].turn, self._pages:
            yield

    @asynccontextmanager
    async def one(self, account_id: UUID) -> AsyncIterator[None]:
        """Wait for the turn of a read of one page. Errors: RATE_LIMITED, UNAVAILABLE."""
        with self.read(account_id):
            async with self.page(account_id):
                yield
