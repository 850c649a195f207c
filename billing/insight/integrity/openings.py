"""Openings: a large account's balance and lots when its books were last found correct."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.frozen import Frozen
from billing.core.periods import EPOCH, LONGEST_DAY
from billing.insight.integrity.tables import proven_books
from billing.ledger.credits.holds import MAX_LIFETIME

LARGE: Final = 50_000
"""Minimum of entries or uses for an opening. To check newer rows of one such account takes some
forty statements: a quarter to half a second. In that time a page of other accounts, which share
their statements, can be checked with this many entries and uses.
"""

# Accounts with their own clock are excluded: their uses may be of any time.
_READ: Final = text(
    """
    SELECT b.account_id, b.seq, coalesce(b.last_at, to_timestamp(0)) AS at, b.balance, b.used,
        b.debt, (
            SELECT coalesce(jsonb_object_agg(l.id, l.remaining), '{}') FROM credit_lots AS l
            WHERE l.account_id = b.account_id AND l.remaining <> 0)::text AS lots
    FROM credit_balances AS b JOIN accounts AS a ON a.id = b.account_id
    WHERE a.id = ANY(:accounts) AND a.clock_at IS NULL AND (b.seq >= :large OR (
        SELECT sum(c.events) FROM usage_counters AS c
        WHERE c.account_id = a.id AND c.owner = '' AND c.grain = 'day') >= :large)
    """
)
# Accounts with findings are fully checked until they have none.
_KNOWN: Final = text(
    """
    SELECT p.account_id, p.seq, p.at, p.balance, p.used, p.debt, p.lots::text AS lots, p.day
    FROM proven_books AS p JOIN accounts AS a ON a.id = p.account_id
    WHERE p.account_id = ANY(:accounts) AND NOT p.is_due AND a.clock_at IS NULL
      AND NOT EXISTS (SELECT FROM accounts_to_check AS t
                      WHERE t.account_id = p.account_id AND t.job = :job AND t.broken <> '[]')
    """
)
_DROP: Final = text("DELETE FROM proven_books WHERE account_id = ANY(:accounts)")
_IN_TURN: Final = text(
    "UPDATE proven_books SET is_due = true WHERE account_id > :after AND account_id <= :last"
)
_GO_ON: Final = text("UPDATE proven_books SET is_due = false WHERE account_id = :account_id")


class Opening(Frozen):
    """The balance, the last entry and the lots that were not empty at the time."""

    account_id: UUID
    seq: int
    at: AwareDatetime
    balance: Decimal
    used: Decimal
    debt: Decimal
    lots: str
    """JSON: the remaining credits of each lot."""
    day: AwareDatetime
    """Uses of days that began before this are proven."""

    @property
    def first_hold(self) -> UUID:
        """The lowest id of a hold that was open at the time, or was made since."""
        return ids.first_of(max(EPOCH, self.at - MAX_LIFETIME - LONGEST_DAY))


async def read(
    connection: AsyncConnection, accounts: Sequence[UUID], now: datetime, large: int
) -> list[Opening]:
    """Return openings of the large ones of these accounts, from this snapshot."""
    rows = await connection.execute(_READ, {"accounts": list(accounts), "large": large})
    return [
        Opening.model_validate(dict(row) | {"day": now - LONGEST_DAY}) for row in rows.mappings()
    ]


async def known(connection: AsyncConnection, job: str, accounts: Sequence[UUID]) -> list[Opening]:
    """Return the stored openings of these accounts."""
    rows = await connection.execute(_KNOWN, {"accounts": list(accounts), "job": job})
    return [Opening.model_validate(dict(row)) for row in rows.mappings()]


async def keep(connection: AsyncConnection, openings: Iterable[Opening]) -> None:
    """Store these openings in place of earlier ones."""
    for opening in openings:
        found = opening.model_dump() | {"lots": json.loads(opening.lots), "is_due": False}
        statement = insert(proven_books).values(found)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["account_id"], set_=found)
        )


async def drop(connection: AsyncConnection, accounts: Iterable[UUID]) -> None:
    """Delete the openings of these accounts."""
    await connection.execute(_DROP, {"accounts": list(accounts)})


async def in_turn(connection: AsyncConnection, after: UUID, last: UUID) -> None:
    """Mark accounts after `after`, up to `last`, for a full check."""
    await connection.execute(_IN_TURN, {"after": after, "last": last})


async def go_on(connection: AsyncConnection, account_id: UUID) -> None:
    """Use the account's opening until the next rotation: a full check took too long."""
    await connection.execute(_GO_ON, {"account_id": account_id})
