"""Usage on its way in: single uses gathered into batches, whole batches cut to size.

One statement is one transaction and one round trip; what it may touch is in its arguments, and
row-level security holds it to that.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import DBAPIError

from api.held import Held
from billing.core import ids
from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.usage import calls
from billing.usage.schemas import Recorded, Use

# Those with quotas are looked at one by one, and each statement reads the list of all of them.
ACCOUNTS_AT_ONCE: Final = 500
_RETRIED: Final = frozenset({"40001", "40P01", "23505"})
"""Somebody was quicker, or an event was sent before: then it is looked for."""


class Recorder:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher: Batcher[Use, Recorded] = Batcher(self._singles)
        self._held = Held(database)

    async def one(self, use: Use) -> Recorded:
        """Record a use together with whatever else waits now; paid by an entry of its own."""
        if use.event_id is None:  # the batcher may repeat it, and must not make another of it
            use = use._replace(fresh=ids.new_hex())
        if use.hold_id is not None:
            return await self._held.one(use)
        return await self._batcher.do(use)

    async def many(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses of any accounts; by place, what became of those not recorded.

        Those that holds pay come after the others.
        """
        held = [place for place, use in enumerate(uses) if use.hold_id is not None]
        if held:
            rest = [place for place, use in enumerate(uses) if use.hold_id is None]
            plain = await self.many([uses[place] for place in rest])
            paid = await self._held.many([uses[place] for place in held])
            return {rest[place]: one for place, one in plain.items()} | {
                held[place]: one for place, one in paid.items()
            }
        owned, together = calls.by_account(uses), [1] * len(uses)
        # Parts have no account in common, and hardly a page of an index: none waits for another.
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
        self, uses: Sequence[Use], groups: Sequence[int], owned: calls.Owned | None, *, full: bool
    ) -> dict[int, Recorded]:
        try:
            return await self._once(uses, groups, owned, full=full, new=True)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _RETRIED:
                raise
        return await self._once(uses, groups, owned, full=full, new=False)

    async def _once(
        self,
        uses: Sequence[Use],
        groups: Sequence[int],
        owned: calls.Owned | None,
        *,
        full: bool,
        new: bool,
    ) -> dict[int, Recorded]:
        async with self._database.tenant_statement() as connection:
            return await calls.record(connection, uses, groups, owned, full=full, new=new)
