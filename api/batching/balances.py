"""Balances read in batches: concurrent reads become one statement over all their accounts.

A read with no other one waiting runs at once, alone.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from billing.core.batcher import Batcher
from billing.core.clock import real_now
from billing.core.database import Database
from billing.ledger.credits import store
from billing.ledger.credits.schemas import CreditOverview


class Balances:
    """One per API process. An overview also includes the free credits that expire within `soon`."""

    def __init__(self, database: Database, soon: timedelta) -> None:
        self._database = database
        self._soon = soon
        self._batcher: Batcher[UUID, CreditOverview | None] = Batcher(self._read)

    async def of(self, account_id: UUID) -> CreditOverview | None:
        """Return the current balance; None when there is no such account."""
        return await self._batcher.do(account_id)

    async def _read(self, account_ids: Sequence[UUID]) -> list[CreditOverview | None]:
        accounts = list(set(account_ids))
        async with self._database.tenant(*accounts) as connection:
            found = await store.overviews(connection, accounts, real_now(), self._soon)
        return [found.get(one) for one in account_ids]
