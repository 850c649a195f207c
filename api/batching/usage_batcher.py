"""Batches usage records so that a locked account delays only its own records.

One statement is one transaction and one round trip. Row-level security limits it to the accounts in
its arguments. It takes the accounts that nobody else has locked; records of the others are retried
by statements that wait for one account each.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from api.batching.held_uses import HoldUsageBatcher
from api.batching.one_by_one import Slow, demand_own, each_apart
from billing.core import ids
from billing.core.batcher import SLOW_KEYS, Batcher, Lanes, Turns
from billing.core.database import Database
from billing.core.database_errors import sqlstate_of
from billing.metering.usage import sql_batch
from billing.metering.usage.rules import MAX_ROWS
from billing.metering.usage.schemas import Recorded, Use
from billing.metering.usage.sql_batch import LOCKED, Wait


class Size(NamedTuple):
    """The maximum size of a batch's part. An account's rows stay together: one entry pays them."""

    accounts: int
    rows: int


LONG: Final = Size(500, MAX_ROWS)
"""Accounts with quotas are handled one by one, and each statement reads the list of them all."""
SHORT: Final = Size(50, 50)
"""Used while single uses arrive, so that Postgres is free for them after each part."""
ABOUT_SECONDS: Final = 0.2
"""For this long after a single use, batches stay in short parts."""
SHORT_AT_ONCE: Final = 1
PARTS_OF_ONE: Final = 2
"""Parts of one batch that may run at once, so that batches take turns."""
SHARE_OF_THE_POOL: Final = 4
"""One in this many connections is for parts of batches, and as many for statements that wait for a
lock, which have turns of their own.
"""
TRIES: Final = 2
"""The number of times that a single use does not wait: its account may be free next time."""
RecordMany = Callable[[Sequence[Use]], Awaitable[dict[int, Recorded]]]
WritePart = Callable[[Sequence[Use], sql_batch.Owned, Wait], Awaitable[dict[int, Recorded]]]
Wake = Callable[[Iterable[UUID]], None]
"""Wakes the matters of these accounts, which requested credits, without waiting."""
RETRIED: Final = frozenset({"40001", "40P01", "23505"})
"""A concurrent statement won, or an event was recorded before: the retry looks for events."""
NOT_SOON: Final = "55P03"
"""lock_not_available: somebody has locked an account for longer than a moment."""
NOT_YET: Final = Recorded(LOCKED, UUID(int=0))
KNOWN: Final = frozenset({"duplicate", "conflict"})
LOOKS: Final = 1_000
"""After a statement met an event recorded before, this many statements look for events first.

Looking costs a tenth of a free use; a wrong guess costs the whole statement once more.
"""


async def record_last(
    uses: Sequence[Use], last: Sequence[int], rest: RecordMany, then: RecordMany
) -> dict[int, Recorded]:
    """Record the uses at the places `last` with `then`, after all others with `rest`."""
    first = sorted({*range(len(uses))}.difference(last))
    found: dict[int, Recorded] = {}
    for places, record in ((first, rest), (last, then)):
        outcomes = await record([uses[place] for place in places])
        found.update((places[number], one) for number, one in outcomes.items())
    return found


class UsageBatcher:
    """One per API process. Without `wake`, accounts that request credits wait for the sweeper."""

    def __init__(self, database: Database, wake: Wake | None = None) -> None:
        self._database = database
        self._wake = wake
        self._batcher = Batcher(partial(self._each, "no"), key=attrgetter("account_id"))
        self._patient = Batcher(partial(self._each, "soon"), key=attrgetter("account_id"))
        self._paid_by_holds = HoldUsageBatcher(database)
        share = max(1, database.in_use()["app"][1] // SHARE_OF_THE_POOL)
        self._turns = {LONG: Turns(share), SHORT: Turns(SHORT_AT_ONCE)}
        self._waiting_turns = Turns(share)
        self._contended: Counter[UUID] = Counter()
        self._locked: Lanes[UUID, Use, Recorded] = Lanes(self._waiting)
        self._single_at = 0.0
        self._looks = 0

    async def one(self, use: Use) -> Recorded:
        """Record a use, together with the other waiting uses; it has its own ledger entry."""
        if use.event_id is None:  # a repeat by the batcher must be the same use
            use = use._replace(record_id=ids.new_hex())
        if use.hold_id is not None:
            return await self._paid_by_holds.one(use)
        self._single_at = monotonic()
        if use.account_id in self._locked:
            return await self._locked.do(use.account_id, use)
        tries = 0 if self._contended[use.account_id] else TRIES
        for run in (*[self._batcher.do] * tries, self._soon):
            done = await run(use)
            if done.verdict != LOCKED:
                return done
        return await self._locked.do(use.account_id, use)

    async def many(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses of any accounts; return the outcome of each one not recorded, by place.

        Uses paid by holds are recorded after the others. Errors of the database refuse all uses if
        one account has them all.
        """
        return await self._many(set() if len({use.account_id for use in uses}) > 1 else None, uses)

    async def _many(self, slow: Slow | None, uses: Sequence[Use]) -> dict[int, Recorded]:
        held = [place for place, use in enumerate(uses) if use.hold_id is not None]
        if held:
            rest, then = partial(self._many, slow), partial(self._paid_by_holds.many, slow)
            return await record_last(uses, held, rest, then)
        left, answers = sql_batch.by_account(uses), dict[int, Recorded]()
        write = self._whole if slow is None else partial(self._apart, slow)
        wait: Wait = "no"
        while left:
            found = await self._divided(uses, left, wait, write)
            locked = {place for place, one in found.items() if one.verdict == LOCKED}
            answers |= {place: one for place, one in found.items() if place not in locked}
            left = [one for one in left if not locked.isdisjoint(one[1])]
            wait = "until one is free"
        return answers

    async def _divided(
        self, uses: Sequence[Use], owned: sql_batch.Owned, wait: Wait, write: WritePart
    ) -> dict[int, Recorded]:
        """Record uses of these accounts in parts; of each part that waits, at least one account's.

        Parts share no account and hardly an index page, so they do not wait for each other.
        """
        left = deque(owned)
        answers: dict[int, Recorded] = {}

        async def lane() -> None:
            while left:
                size = self._size()
                turns = self._turns[size] if wait == "no" else self._waiting_turns
                async with turns.one():
                    part = _next(left, size)
                    if part:
                        answers.update(await write(uses, part, wait))

        await asyncio.gather(*(lane() for _ in range(PARTS_OF_ONE)))
        return answers

    async def _whole(
        self, uses: Sequence[Use], part: sql_batch.Owned, wait: Wait
    ) -> dict[int, Recorded]:
        return await self._write(uses, [1] * len(uses), part, wait, full=False)

    async def _apart(
        self, slow: Slow, uses: Sequence[Use], part: sql_batch.Owned, wait: Wait
    ) -> dict[int, Recorded]:
        """Record uses of these accounts together, or account by account where that fails.

        An account for which the statement fails alone has only its own uses refused.
        """
        if len(part) > 1 and len(slow) < SLOW_KEYS:
            try:
                return await self._whole(uses, part, wait)
            except DBAPIError as error:
                demand_own(error)
        numbers = {places[0]: number for number, places in part}

        async def alone(places: Sequence[int]) -> dict[int, Recorded]:
            return await self._whole(uses, [(numbers[places[0]], places)], wait)

        return await each_apart(slow, uses, [places for _, places in part], alone)

    def _size(self) -> Size:
        return SHORT if monotonic() < self._single_at + ABOUT_SECONDS else LONG

    async def _soon(self, use: Use) -> Recorded:
        self._contended[use.account_id] += 1
        try:
            return await self._patient.do(use)
        finally:
            self._contended[use.account_id] -= 1
            if not self._contended[use.account_id]:
                del self._contended[use.account_id]

    async def _waiting(self, uses: Sequence[Use]) -> list[Recorded]:
        async with self._waiting_turns.one():
            return await self._each("until all are free", uses)

    async def _each(self, wait: Wait, uses: Sequence[Use]) -> list[Recorded]:
        groups = range(1, len(uses) + 1)
        found = await self._write(uses, groups, sql_batch.by_account(uses), wait, full=True)
        return [found[place] for place in range(len(uses))]

    async def _write(
        self,
        uses: Sequence[Use],
        groups: Sequence[int],
        owned: sql_batch.Owned,
        wait: Wait,
        *,
        full: bool,
    ) -> dict[int, Recorded]:
        how = sql_batch.How(full=full, new=self._looks == 0, wait=wait)
        try:
            found = await self._once(uses, groups, owned, how)
        except DBAPIError as error:
            if sqlstate_of(error) not in RETRIED:
                raise
            found = await self._once(uses, groups, owned, how._replace(new=False))
        met = any(one.verdict in KNOWN for one in found.values())
        self._looks = LOOKS if met else max(self._looks - 1, 0)
        return found

    async def _once(
        self,
        uses: Sequence[Use],
        groups: Sequence[int],
        owned: sql_batch.Owned,
        how: sql_batch.How,
    ) -> dict[int, Recorded]:
        try:
            async with self._database.tenant_statement() as connection:
                done = await sql_batch.record(connection, uses, groups, owned, how)
        except DBAPIError as error:
            if how.wait != "soon" or sqlstate_of(error) != NOT_SOON:
                raise
            return {place: NOT_YET for _, places in owned for place in places}
        if done.asking and self._wake is not None:
            self._wake(done.asking)
        return done.answers


def _next(left: deque[tuple[int, Sequence[int]]], size: Size) -> sql_batch.Owned:
    """Take the next accounts that fit; an account with more rows than fit is a part of its own."""
    part: list[tuple[int, Sequence[int]]] = []
    rows = 0
    while left and len(part) < size.accounts:
        rows += len(left[0][1])
        if part and rows > size.rows:
            break
        part.append(left.popleft())
    return part
