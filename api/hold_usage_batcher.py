"""Uses paid by a hold, in batches: each is captured from its own hold, many in one statement.

Other uses go through `usage_batcher`, which spends credits in burn order.
"""

from collections.abc import Sequence
from typing import Final

from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use

AT_ONCE: Final = 100
"""Each use is rated and captured by itself: more would come near the statement timeout."""


class HoldUsageBatcher:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[Use, Recorded] = Batcher(self._write, AT_ONCE)

    async def one(self, use: Use) -> Recorded:
        """Record a use, together with the other uses that wait."""
        return await self._batcher.do(use)

    async def many(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses of any accounts; by place, the outcome of each one not recorded."""
        answers: dict[int, Recorded] = {}
        for start in range(0, len(uses), AT_ONCE):
            found = await self._write(uses[start : start + AT_ONCE])
            answers |= {start + place: one for place, one in enumerate(found)}
        return {place: one for place, one in answers.items() if one.verdict != "recorded"}

    async def _write(self, uses: Sequence[Use]) -> list[Recorded]:
        async with self._database.tenant(*{use.account_id for use in uses}) as connection:
            found = await sql_batch.record_on_holds(connection, uses)
        return [found[place] for place in range(len(uses))]
