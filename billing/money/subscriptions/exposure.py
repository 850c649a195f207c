"""The unpaid use of an account, and its limit."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_UNPAID: Final = text(
    "SELECT unpaid, unpaid_limit, currency"
    " FROM usage_unpaid(:account_id, coalesce(CAST(:at AS timestamptz), 'infinity'), :by_card)"
)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Unpaid use in whole units of the currency; a credit counts as one of them."""

    unpaid: Decimal
    unpaid_limit: Decimal
    currency: str


async def of_account(
    connection: AsyncConnection, account_id: UUID, at: datetime | None = None, *, by_card: bool
) -> Exposure:
    """Return uses deferred or with failed payment, owed overage and, for a use that no card pays at
    once, what banks took back, as a use of `at` sees them.
    """
    named = {"account_id": account_id, "at": at, "by_card": by_card}
    row = (await connection.execute(_UNPAID, named)).one()
    return Exposure(row.unpaid, row.unpaid_limit, row.currency)
