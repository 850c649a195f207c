"""The books of an account, each sum read from its own table."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.integrity.narrowed import narrowed
from billing.ledger.credits import store
from billing.ledger.credits.invariants import RULES


class Books(NamedTuple):
    """Every sum that must agree, each from its own table."""

    balance: Decimal
    held: Decimal
    debt: Decimal
    ledger: Decimal
    remaining: Decimal
    lots_held: Decimal
    open_holds: Decimal
    entries: int
    seq: int
    split_errors: int

    def agree(self) -> bool:
        """Σ transactions = Σ lots.remaining = balance; held the same; no gap in the ledger."""
        return (
            self.balance == self.ledger == self.remaining
            and self.held == self.lots_held == self.open_holds
            and self.entries == self.seq
            and self.split_errors == 0
        )


_BOOKS = text(
    """
    SELECT b.balance, b.held, b.debt,
        (SELECT coalesce(sum(amount), 0) FROM credit_transactions WHERE account_id = b.account_id)
            AS ledger,
        (SELECT coalesce(sum(remaining), 0) FROM credit_lots WHERE account_id = b.account_id)
            AS remaining,
        (SELECT coalesce(sum(held), 0) FROM credit_lots WHERE account_id = b.account_id)
            AS lots_held,
        (SELECT coalesce(sum(amount), 0) FROM credit_holds
         WHERE account_id = b.account_id AND status = 'open') AS open_holds,
        (SELECT count(*) FROM credit_transactions WHERE account_id = b.account_id) AS entries,
        b.seq,
        (SELECT count(*) FROM credit_transactions t WHERE account_id = b.account_id AND amount <>
            (SELECT coalesce(sum(amount), 0) FROM credit_transaction_lots
             WHERE transaction_id = t.id)) AS split_errors
    FROM credit_balances b WHERE b.account_id = :account_id
    """
)


async def read_books(connection: AsyncConnection, account_id: UUID) -> Books:
    """The account's sums as they stand in this transaction."""
    return Books(*(await connection.execute(_BOOKS, {"account_id": account_id})).one())


def decimals(*amounts: int | str) -> tuple[Decimal, ...]:
    """Amounts to compare a row of amounts with."""
    return tuple(Decimal(amount) for amount in amounts)


async def broken(connection: AsyncConnection, account_id: UUID) -> set[tuple[str, UUID]]:
    """(rule, account) of what does not hold."""
    found = set()
    for rule, query in RULES.items():
        asked = text(f"{narrowed(query)} {query}")
        rows = await connection.execute(asked, {"accounts": [account_id]})
        found |= {(rule, row.account_id) for row in rows}
    return found


async def balance_at(
    connection: AsyncConnection, account_id: UUID, at: datetime
) -> tuple[Decimal, Decimal, Decimal]:
    """(balance, held, used), as reads tell them at `at` of rows in which something has expired."""
    query = text("SELECT * FROM credit_balances WHERE account_id = :account_id")
    row = (await connection.execute(query, {"account_id": account_id})).one()
    if row.next_expiry is None or row.next_expiry > at:
        return row.balance, row.held, row.used
    gone, held, _ = await store.unsettled(connection, account_id, at)
    return row.balance - gone, held, row.used
