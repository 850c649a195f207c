"""Queries on trials."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, literal, select, text, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import keys, row_writes
from billing.core.prepared import Prepared, Row, given
from billing.ledger.credits import store as balances
from billing.money.trials.schemas import Trial
from billing.money.trials.tables import trial_identities, trials

ACCOUNT_TRIAL = "account_trial"
SUBSCRIPTION_TRIAL = "subscription_trial"

_FIND = Prepared(
    select(trials).where(trials.c.account_id == given("account_id"), trials.c.kind == ACCOUNT_TRIAL)
)

# If another account already had the trial of this identity, its row is enough to refuse more.
_REMEMBER = Prepared(
    insert(trial_identities)
    .from_select(
        ["kind", "identity_hash", "account_id"],
        select(trials.c.kind, cast(given("identity"), Text), trials.c.account_id).where(
            trials.c.account_id == given("of_account")
        ),
    )
    .on_conflict_do_nothing()
)
# The release before knows `trials` alone.
_OF_IDENTITY = Prepared(
    union_all(
        *(
            select(literal(1)).where(
                table.c.kind == ACCOUNT_TRIAL, table.c.identity_hash == given("identity")
            )
            for table in (trials, trial_identities)
        )
    )
)
# Payments of a subscription take the account's lock, and convert the trial that they find.
_PAYS = Prepared(
    text(
        """
    SELECT 1 FROM subscriptions s JOIN invoices i ON i.subscription_id = s.id
    WHERE s.account_id = :account_id AND s.ended_at IS NULL AND i.status = 'paid'
      AND (i.amount_paid_minor > 0 OR i.balance_applied_minor > 0)
    LIMIT 1
    """
    )
)


async def add(connection: AsyncConnection, row: dict[str, Any]) -> Trial | None:
    """Take the trial; None when this account or this platform identity had it before."""
    if row["identity_hash"] is not None:
        identity = {one.name: row[one.name] for one in trial_identities.c}
        if await row_writes.add_unless_there(connection, trial_identities, identity) is None:
            return None
    created = await row_writes.add_unless_there(connection, trials, row)
    return show(created) if created else None


async def pays_for_a_plan(connection: AsyncConnection, account_id: UUID) -> bool:
    """True if the account has an open subscription that money has paid for.

    Needs the account's lock.
    """
    return await _PAYS.first(connection, account_id=account_id) is not None


async def convert(connection: AsyncConnection, trial_id: UUID, at: datetime) -> Trial:
    """End the trial as converted."""
    return show(
        await row_writes.change(connection, trials, trial_id, status="converted", ended_at=at)
    )


async def remember(connection: AsyncConnection, account_id: UUID, identity: str) -> None:
    """Count the account's trials, which it has had, as those of a platform identity, too."""
    await _REMEMBER.send(connection, of_account=account_id, identity=identity)


async def find(connection: AsyncConnection, account_id: UUID) -> Trial | None:
    """The account's trial of credits."""
    row = await _FIND.first(connection, account_id=account_id)
    return show(row) if row else None


async def is_taken(connection: AsyncConnection, identity: str) -> bool:
    """True if any account had the trial of credits with the identity; must see all accounts."""
    return await _OF_IDENTITY.first(connection, identity=identity) is not None


async def credits_left(connection: AsyncConnection, account_id: UUID, at: datetime) -> Decimal:
    """The unspent credits of the trial's own lot at `at`."""
    return await balances.left_of(connection, account_id, keys.trial_grant(account_id), at)


def show(row: Row) -> Trial:
    """A row as a trial."""
    return Trial.model_validate(row)
