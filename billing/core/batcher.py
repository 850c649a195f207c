"""Combine concurrent calls: whatever queued while the last batch ran is the next batch.

No timer: an idle system answers a single call at once, a busy one needs one round trip for many.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from sqlalchemy.exc import TimeoutError as PoolIsFull

from billing.core.database_errors import took_too_long
from billing.core.errors import Unavailable

MAX_BATCH: Final = 200
APART: Final = 4
"""Items of a failed batch that are tried individually at the same time."""
SLOW_KEYS: Final = 2
"""If two keys are too slow, the cause is not a key."""
MAX_WAITING: Final = 10_000
TURN_SECONDS: Final = 10
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Runs `run(items)` for all waiting items at once; the answers come in the same order.

    A batch that fails is repeated item by item, so that one bad item fails alone. Once an item
    takes too long by itself, the waiting items of its `key` are refused; once two keys do, all
    waiting items of the batch are.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        limit: int = MAX_BATCH,
        key: Callable[[T], Hashable] = lambda _: None,
    ) -> None:
        self._run = run
        self._limit = limit
        self._key = key
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._lane: asyncio.Task[None] | None = None

    async def do(self, item: T) -> R:
        """Return the answer for `item`. Errors: those of `run`; Unavailable if too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("UNAVAILABLE", "too many requests are waiting for the database")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._lane is None or self._lane.done():
            self._lane = asyncio.create_task(self._drain())
        return await answer

    async def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            if len(batch) == 1:
                await self._alone(*batch[0])
            else:
                await self._together(batch)

    async def _together(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._run([item for item, _ in batch])
        except Exception:  # noqa: BLE001 (each item is tried alone next, and raises its own)
            await self._apart(batch)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():  # the caller may have disconnected; the write stands
                future.set_result(answer)

    async def _apart(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        turns, slow = asyncio.Semaphore(APART), set[Hashable]()

        async def one(item: T, future: asyncio.Future[R]) -> None:
            key = self._key(item)
            async with turns:
                if key not in slow and len(slow) < SLOW_KEYS:
                    if await self._alone(item, future):
                        slow.add(key)
                elif not future.done():
                    future.set_exception(Unavailable("UNAVAILABLE", "the database takes too long"))

        await asyncio.gather(*(one(item, future) for item, future in batch))

    async def _alone(self, item: T, future: asyncio.Future[R]) -> bool:
        """Run one item; True if it took too long."""
        try:
            answer = (await self._run([item]))[0]
        except Exception as error:  # noqa: BLE001 (handed to the caller)
            if not future.done():
                future.set_exception(error)
            return took_too_long(error) or isinstance(error, (Unavailable, PoolIsFull))
        if not future.done():
            future.set_result(answer)
        return False


class Lanes(Generic[K, T, R]):
    """A batcher per key while items wait there, so that no key waits for another."""

    def __init__(self, run: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._run = run
        self._lanes: dict[K, Batcher[T, R]] = {}
        self._waiting: Counter[K] = Counter()

    def __contains__(self, key: K) -> bool:
        return key in self._lanes

    async def do(self, key: K, item: T) -> R:
        """As `Batcher.do`, in the key's lane."""
        lane = self._lanes.get(key) or self._lanes.setdefault(key, Batcher(self._run))
        self._waiting[key] += 1
        try:
            return await lane.do(item)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._lanes[key]


class Turns:
    """A limit on concurrent work; the others wait in order of arrival."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn, and take it. Errors: Unavailable after a timeout."""
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Unavailable(
                "UNAVAILABLE", "too many requests are waiting for the database"
            ) from error
        try:
            yield
        finally:
            self._slots.release()
