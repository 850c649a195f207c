"""Recording of uses in batches: single uses are collected, whole batches are split.

One statement is one transaction and one round trip. Row-level security limits it to the accounts in
its arguments.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from billing.core import ids
from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use

# Accounts with quotas are handled one by one, and each statement reads the list of them all.
ACCOUNTS_AT_ONCE: Final = 500
HOLDS_AT_ONCE: Final = 100
"""Each use is rated and captured by itself: more would come near the statement timeout."""
RecordMany = Callable[[Sequence[Use]], Awaitable[dict[int, Recorded]]]
Wake = Callable[[Iterable[UUID]], None]
"""Has the matters of these accounts woken, which asked for credits; it does not wait."""
RETRIED: Final = frozenset({"40001", "40P01", "23505"})
"""A concurrent statement won, or an event was recorded before: the retry looks for events."""
KNOWN: Final = frozenset({"duplicate", "conflict"})
LOOKS: Final = 1_000
"""So many statements look for events first after one met an event that was recorded before: to look
costs a tenth of a free use, to be wrong costs the whole statement once more."""


async def record_last(
    uses: Sequence[Use], last: Sequence[int], rest: RecordMany, then: RecordMany
) -> dict[int, Recorded]:
    """Record the uses at the places `last` by `then`, after all others by `rest`."""
    first = sorted({*range(len(uses))}.difference(last))
    found: dict[int, Recorded] = {}
    for places, record in ((first, rest), (last, then)):
        outcomes = await record([uses[place] for place in places])
        found.update((places[number], one) for number, one in outcomes.items())
    return found


class HoldUsageBatcher:
    """Uses paid by a hold, each captured from its own hold, many in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[Use, Recorded] = Batcher(self._write, HOLDS_AT_ONCE)

    async def one(self, use: Use) -> Recorded:
        """Record a use, together with the other uses that wait."""
        return await self._batcher.do(use)

    async def many(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses of any accounts; by place, the outcome of each one not recorded."""
        answers: dict[int, Recorded] = {}
        for start in range(0, len(uses), HOLDS_AT_ONCE):
            found = await self._write(uses[start : start + HOLDS_AT_ONCE])
            answers |= {start + place: one for place, one in enumerate(found)}
        return {place: one for place, one in answers.items() if one.verdict != "recorded"}

    async def _write(self, uses: Sequence[Use]) -> list[Recorded]:
        async with self._database.tenant(*{use.account_id for use in uses}) as connection:
            found = await sql_batch.record_on_holds(connection, uses)
        return [found[place] for place in range(len(uses))]


class UsageBatcher:
    """One per API process. Accounts that ask for credits wait for the sweeper without `wake`."""

    def __init__(self, database: Database, wake: Wake | None = None) -> None:
        self._database = database
        self._wake = wake
        self._batcher: Batcher[Use, Recorded] = Batcher(self._singles)
        self._paid_by_holds = HoldUsageBatcher(database)
        self._looks = 0

    async def one(self, use: Use) -> Recorded:
        """Record a use, together with the other uses that wait; its ledger entry is its own."""
        if use.event_id is None:  # a repeat by the batcher must be the same use
            use = use._replace(record_id=ids.new_hex())
        if use.hold_id is not None:
            return await self._paid_by_holds.one(use)
        return await self._batcher.do(use)

    async def many(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses of any accounts; by place, the outcome of each one not recorded.

        Uses paid by holds are recorded after the others.
        """
        held = [place for place, use in enumerate(uses) if use.hold_id is not None]
        if held:
            return await record_last(uses, held, self.many, self._paid_by_holds.many)
        owned, together = sql_batch.by_account(uses), [1] * len(uses)
        # Parts share no account and hardly an index page: they do not wait for each other.
        parts = await asyncio.gather(
            *(
                self._write(uses, together, owned[start : start + ACCOUNTS_AT_ONCE], full=False)
                for start in range(0, len(owned), ACCOUNTS_AT_ONCE)
            )
        )
        return {place: one for part in parts for place, one in part.items()}

    async def _singles(self, uses: Sequence[Use]) -> list[Recorded]:
        found = await self._write(uses, range(1, len(uses) + 1), None, full=True)
        return [found[place] for place in range(len(uses))]

    async def _write(
        self,
        uses: Sequence[Use],
        groups: Sequence[int],
        owned: sql_batch.Owned | None,
        *,
        full: bool,
    ) -> dict[int, Recorded]:
        try:
            found = await self._once(uses, groups, owned, full=full, new=self._looks == 0)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in RETRIED:
                raise
            found = await self._once(uses, groups, owned, full=full, new=False)
        met = any(one.verdict in KNOWN for one in found.values())
        self._looks = LOOKS if met else max(self._looks - 1, 0)
        return found

    async def _once(
        self,
        uses: Sequence[Use],
        groups: Sequence[int],
        owned: sql_batch.Owned | None,
        *,
        full: bool,
        new: bool,
    ) -> dict[int, Recorded]:
        async with self._database.tenant_statement() as connection:
            done = await sql_batch.record(connection, uses, groups, owned, full=full, new=new)
        if done.asking and self._wake is not None:
            self._wake(done.asking)
        return done.answers
