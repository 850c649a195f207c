"""Every query on trials."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys, prepared
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, Row, given
from billing.credits.tables import credit_lots
from billing.trials.rules import TrialState
from billing.trials.schemas import Trial
from billing.trials.tables import trials

ACCOUNT_TRIAL = "account_trial"
SUBSCRIPTION_TRIAL = "subscription_trial"

_STATE = """
SELECT t.*, a.clock_at FROM trials t JOIN accounts a ON a.id = t.account_id
WHERE t.account_id = :account_id AND t.kind = 'account_trial'
"""
_FIND = Prepared(
    select(trials).where(
        trials.c.account_id == given("account_id"), trials.c.kind == given("of_kind")
    )
)
_READ_STATE = Prepared(text(_STATE))
_LOCK_STATE = Prepared(text(_STATE + "FOR NO KEY UPDATE OF t"))


async def add(connection: AsyncConnection, row: dict[str, Any]) -> Trial | None:
    """Take the trial; None when this account or this platform identity had it before."""
    created = await prepared.add_unless_there(connection, trials, row)
    return show(created) if created else None


async def find(
    connection: AsyncConnection, account_id: UUID, kind: str = ACCOUNT_TRIAL
) -> Trial | None:
    """The account's trial of this kind."""
    row = await _FIND.first(connection, account_id=account_id, of_kind=kind)
    return show(row) if row else None


async def change(connection: AsyncConnection, trial_id: UUID, **fields: Any) -> Trial:
    """Overwrite fields of one trial."""
    return show(await prepared.change(connection, trials, trial_id, **fields))


async def credits_left(connection: AsyncConnection, account_id: UUID) -> Decimal:
    """What is unspent of the trial's own lot."""
    left: Decimal | None = await connection.scalar(
        select(credit_lots.c.remaining).where(
            credit_lots.c.grant_key == keys.trial_grant(account_id)
        )
    )
    return left or Decimal(0)


async def state(connection: AsyncConnection, account_id: UUID, *, lock: bool = False) -> TrialState:
    """The row's word about the account's trial, optionally under its lock."""
    row = await (_LOCK_STATE if lock else _READ_STATE).first(connection, account_id=account_id)
    if row is None:
        raise NotFound("TRIAL_NOT_FOUND", "no trial was taken")
    ends = f"{row['expires_at']:%-d %b %Y %H:%M} UTC"
    words = f"trial runs until {ends}" if row["status"] == "active" else f"trial {row['status']}"
    return TrialState(
        clock_at=row["clock_at"],
        status=row["status"],
        words=words,
        account=ids.encode(ids.ACCOUNT, account_id),
        expires_at=row["expires_at"],
    )


def show(row: Row) -> Trial:
    """A row as a trial."""
    return Trial.model_validate(row)
