"""Holds of an account in great number, written by one statement."""

from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import text

from billing.core.database import Database

EACH: Final = Decimal("0.000001")
_HOLD: Final = text(
    """
    WITH lot AS (
        SELECT id FROM credit_lots WHERE account_id = :account ORDER BY granted_seq LIMIT 1
    ), made AS (
        INSERT INTO credit_holds (
            id, account_id, status, amount, key, request_hash, reason, created_at, expires_at)
        SELECT uuidv7(), :account, 'open', :each, :name || n, '', 'queue',
            CAST(:ends AS timestamptz) - interval '1 hour', CAST(:ends AS timestamptz)
        FROM generate_series(1, :many) AS n
        RETURNING id
    ), parts AS (
        INSERT INTO credit_hold_lots (hold_id, position, lot_id, account_id, amount)
        SELECT made.id, 1, lot.id, :account, :each FROM made, lot
    ), lots AS (
        UPDATE credit_lots AS l SET held = held + :each * :many FROM lot WHERE l.id = lot.id
    )
    UPDATE credit_balances
    SET held = held + :each * :many, next_expiry = least(next_expiry, CAST(:ends AS timestamptz))
    WHERE account_id = :account
    """
)


async def hold_many(database: Database, account_id: UUID, many: int, ends: datetime) -> None:
    """Make so many holds of the least amount on the account's first lot, which end then."""
    values = {
        "account": account_id, "many": many, "ends": ends, "each": EACH, "name": f"{uuid4()}/"
    }  # fmt: skip
    async with database.tenant(account_id) as connection:
        await connection.execute(_HOLD, values)
