"""Batches usage records that holds pay for."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from sqlalchemy.exc import DBAPIError

from api.batching.one_by_one import Slow, demand_own, each_apart
from billing.core.batcher import SLOW_KEYS, Batcher
from billing.core.database import Database
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use

HOLDS_AT_ONCE: Final = 100
"""Each use is rated and captured separately: more would come near the statement timeout."""


class HoldUsageBatcher:
    """Uses paid by holds, each captured from its own hold, many in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[Use, Recorded] = Batcher(
            self._write, HOLDS_AT_ONCE, attrgetter("account_id")
        )

    async def one(self, use: Use) -> Recorded:
        """Record a use, together with the other waiting uses."""
        return await self._batcher.do(use)

    async def many(self, slow: Slow | None, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses; return the outcome of each one not recorded, by place."""
        answers: dict[int, Recorded] = {}
        for start in range(0, len(uses), HOLDS_AT_ONCE):
            part = uses[start : start + HOLDS_AT_ONCE]
            found = await (self._write(part) if slow is None else self._apart(slow, part))
            answers |= {start + place: one for place, one in enumerate(found)}
        return {place: one for place, one in answers.items() if one.verdict != "recorded"}

    async def _apart(self, slow: Slow, uses: Sequence[Use]) -> list[Recorded]:
        """Record uses together, or one by one where that fails."""

        async def alone(places: Sequence[int]) -> dict[int, Recorded]:
            return dict(zip(places, await self._write([uses[one] for one in places]), strict=True))

        if len(slow) < SLOW_KEYS:
            try:
                return await self._write(uses)
            except DBAPIError as error:
                demand_own(error)
        found = await each_apart(slow, uses, [[place] for place in range(len(uses))], alone)
        return [found[place] for place in range(len(uses))]

    async def _write(self, uses: Sequence[Use]) -> list[Recorded]:
        async with self._database.tenant(*{use.account_id for use in uses}) as connection:
            found = await sql_batch.record_on_holds(connection, uses)
        return [found[place] for place in range(len(uses))]
