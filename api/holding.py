"""Holds and captures of one API process: whatever waits goes to Postgres as one statement.

The ledger's own keys make them safe to repeat, so no idempotency row is written (product.md §13).
"""

from collections.abc import Sequence
from typing import TypeVar

from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.core.errors import BillingError
from billing.credits.holds import CaptureOrder, HoldOrder, capture_many, hold_many
from billing.credits.schemas import Capture, Hold

T = TypeVar("T")


class Holding:
    """One per API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holds = Batcher(self._hold)
        self._captures = Batcher(self._capture)

    async def hold(self, order: HoldOrder) -> Hold:
        """Set credits aside; errors as `billing.credits.service.hold`.

        A refusal says `top_up` where credits are being bought now.
        """
        return _answer(await self._holds.do(order))

    async def capture(self, order: CaptureOrder) -> Capture:
        """Spend what was held; errors as `billing.credits.service.capture`."""
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
