"""Uses that holds pay, of one API process: each by its own hold, many in one statement.

They go past the plain way of recording, which pays from whatever credits burn first.
"""

from collections.abc import Sequence
from typing import Final

from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.usage import calls
from billing.usage.schemas import Recorded, Use

AT_ONCE: Final = 100
"""Each is rated and captured by itself: more at once would near the limit of a statement."""


class Held:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[Use, Recorded] = Batcher(self._write, AT_ONCE)

    async def one(self, use: Use) -> Recorded:
        """Record a use together with whatever else waits now."""
        return await self._batcher.do(use)

    async def many(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses of any accounts; by place, what became of those not recorded."""
        answers: dict[int, Recorded] = {}
        for start in range(0, len(uses), AT_ONCE):
            found = await self._write(uses[start : start + AT_ONCE])
            answers |= {start + place: one for place, one in enumerate(found)}
        return {place: one for place, one in answers.items() if one.verdict != "recorded"}

    async def _write(self, uses: Sequence[Use]) -> list[Recorded]:
        async with self._database.tenant(*{use.account_id for use in uses}) as connection:
            found = await calls.record_held(connection, uses)
        return [found[place] for place in range(len(uses))]
