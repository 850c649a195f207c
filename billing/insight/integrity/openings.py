"""Openings: what the books of a large account stated when all of them were last found right."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.frozen import Frozen
from billing.insight.integrity.tables import proven_books

LARGE: Final = 50_000
"""From so many entries or uses on an account has an opening. What came since is asked of each such
account by itself, in some forty statements: a quarter to half a second. In that time as many
entries and uses as this are read of a page, whose accounts share the statements.
"""
DAY: Final = timedelta(hours=26)
"""No day is longer, whatever the account's zone; clocks may differ."""

# With a clock of its own an account has uses of any time.
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
# Whoever has findings noted is looked at with everything until there are none.
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
    """The balance, its last entry and the lots that are not empty, as they stood."""

    account_id: UUID
    seq: int
    at: AwareDatetime
    balance: Decimal
    used: Decimal
    debt: Decimal
    lots: str
    """JSON: what is left of each."""
    day: AwareDatetime
    """Uses of days that began before are proven."""


async def read(
    connection: AsyncConnection, accounts: Sequence[UUID], now: datetime, large: int
) -> list[Opening]:
    """Openings of those that are large, as they stand on this snapshot."""
    rows = await connection.execute(_READ, {"accounts": list(accounts), "large": large})
    return [Opening.model_validate(dict(row) | {"day": now - DAY}) for row in rows.mappings()]


async def known(connection: AsyncConnection, job: str, accounts: Sequence[UUID]) -> list[Opening]:
    """Those that these accounts have."""
    rows = await connection.execute(_KNOWN, {"accounts": list(accounts), "job": job})
    return [Opening.model_validate(dict(row)) for row in rows.mappings()]


async def keep(connection: AsyncConnection, openings: Iterable[Opening]) -> None:
    """Keep them in place of those before."""
    for opening in openings:
        found = opening.model_dump() | {"lots": json.loads(opening.lots), "is_due": False}
        statement = insert(proven_books).values(found)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["account_id"], set_=found)
        )


async def drop(connection: AsyncConnection, accounts: Iterable[UUID]) -> None:
    """Forget those of these accounts."""
    await connection.execute(_DROP, {"accounts": list(accounts)})


async def in_turn(connection: AsyncConnection, after: UUID, last: UUID) -> None:
    """Everything is to be read of all accounts behind the one, up to the other."""
    await connection.execute(_IN_TURN, {"after": after, "last": last})


async def go_on(connection: AsyncConnection, account_id: UUID) -> None:
    """Go on from it until the next turn, for everything could not be read in time."""
    await connection.execute(_GO_ON, {"account_id": account_id})
