"""Holds and captures in batches: concurrent requests of this process become one statement.

The ledger's own keys make them safe to repeat, so they need no idempotency row (docs/rules/api.md).
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import TypeVar

from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.core.errors import BillingError
from billing.ledger.credits.holds import CaptureOrder, HoldOrder, capture_many, hold_many
from billing.ledger.credits.schemas import Capture, Hold

T = TypeVar("T")


class HoldBatcher:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holds = Batcher(self._hold, key=attrgetter("account_id"))
        self._captures = Batcher(self._capture, key=attrgetter("account_id"))

    async def hold(self, order: HoldOrder) -> Hold:
        """Create a hold. Errors: those of `hold_many`, with the field `top_up` when an automatic
        purchase of credits is under way.
        """
        return _answer(await self._holds.do(order))

    async def capture(self, order: CaptureOrder) -> Capture:
        """Spend a hold. Errors: those of `capture_many`."""
        return _answer(await self._captures.do(order))

    async def _hold(self, orders: Sequence[HoldOrder]) -> list[Hold | BillingError]:
        async with self._database.tenant_statement() as connection:
            return await hold_many(connection, orders)

    async def _capture(self, orders: Sequence[CaptureOrder]) -> list[Capture | BillingError]:
        async with self._database.tenant_statement() as connection:
            return await capture_many(connection, orders)


def _answer(answer: T | BillingError) -> T:
    if isinstance(answer, BillingError):
        raise answer
    return answer
