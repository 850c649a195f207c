"""Use that an account has not paid, and the most that it may come to."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_UNPAID: Final = text("SELECT unpaid, unpaid_limit, currency FROM usage_unpaid(:account_id)")


@dataclass(frozen=True, slots=True)
class Exposure:
    """Unpaid use in whole units of the currency; a credit counts as one of them."""

    unpaid: Decimal
    unpaid_limit: Decimal
    currency: str


async def of_account(connection: AsyncConnection, account_id: UUID) -> Exposure:
    """Uses put off, uses whose payment failed, and overage while an invoice is overdue."""
    row = (await connection.execute(_UNPAID, {"account_id": account_id})).one()
    return Exposure(row.unpaid, row.unpaid_limit, row.currency)
