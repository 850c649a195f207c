"""Queries on contracts. Writers hold the account's lock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import SERVED
from billing.core import ids, row_writes
from billing.core.errors import Conflict
from billing.core.periods import FOREVER, Interval, first_from
from billing.core.prepared import Fields
from billing.money.contracts.schemas import Contract, ContractTerms
from billing.money.contracts.tables import contracts

_PERIODS: Final = text(
    "SELECT anchor_wall, zone, interval_unit AS unit, interval_count AS count,"
    " current_period_end FROM subscriptions WHERE account_id = :account_id"
    " AND status = ANY (:served)"
)


async def ahead(connection: AsyncConnection, account_id: UUID, at: datetime) -> Sequence[Contract]:
    """Return the contract in force at an instant, and those that begin later, in order."""
    query = select(contracts).where(_lasting(account_id, at)).order_by(contracts.c.effective_from)
    return [show(row) for row in (await connection.execute(query)).mappings()]


async def in_force(connection: AsyncConnection, account_id: UUID, at: datetime) -> Contract | None:
    """Return the contract in force at an instant."""
    known = await ahead(connection, account_id, at)
    return next((one for one in known if one.holds_at(at)), None)


async def begin(
    connection: AsyncConnection,
    account_id: UUID,
    terms: ContractTerms,
    reference: str | None,
    start: datetime,
    end: datetime | None,
    at: datetime,
) -> Contract:
    """Add a contract from `start` on; it replaces all that was agreed for that time."""
    await stop(connection, account_id, start, end, now=at)
    values = {
        "id": ids.new(), "account_id": account_id, "reference": reference,
        "terms": terms.model_dump(mode="json"), "effective_from": start, "effective_to": end,
        "created_at": at,
    }  # fmt: skip
    return show(await row_writes.add(connection, contracts, values))


async def stop(
    connection: AsyncConnection, account_id: UUID, at: datetime, until: datetime | None = None,
    *, now: datetime,
) -> None:  # fmt: skip
    """End the contract at `at`, and have those to come before `until` (None: all) begin then. One
    that began `now` is not to come.

    Errors: CONTRACT_SOLD if one that begins at `at` was sold under.
    """
    begins, last = contracts.c.effective_from, until or FOREVER
    to_come = delete(contracts).where(
        contracts.c.account_id == account_id, begins >= at, begins < last
    )
    try:
        # A contract that will never be in force needs no record.
        gone = (await connection.execute(to_come.returning(contracts))).mappings().all()
    except IntegrityError as error:  # a subscription names it
        raise Conflict("CONTRACT_SOLD") from error
    for one in gone:
        if one["effective_from"] > now and (one["effective_to"] or FOREVER) > last:
            await row_writes.add(connection, contracts, {**one, "effective_from": last})
    await connection.execute(
        update(contracts).where(_lasting(account_id, at), begins < at).values(effective_to=at)
    )


async def next_period(connection: AsyncConnection, account_id: UUID, at: datetime) -> datetime:
    """Return the start of the subscription's first period at or after an instant; without a
    subscription that instant.
    """
    whose = {"account_id": account_id, "served": [*SERVED]}
    found = (await connection.execute(_PERIODS, whose)).mappings().first()
    until: datetime = at if found is None else found["current_period_end"]
    if found is None or at <= until:
        return until
    interval = Interval(unit=found["unit"], count=found["count"])
    return first_from(found["anchor_wall"], found["zone"], interval, at)


def show(row: Fields) -> Contract:
    """Return a row as a contract."""
    return Contract.model_validate(dict(row))


def _lasting(account_id: UUID, at: datetime) -> ColumnElement[bool]:
    """Return the condition that a contract of this account is not over at an instant."""
    lasts = or_(contracts.c.effective_to.is_(None), contracts.c.effective_to > at)
    return and_(contracts.c.account_id == account_id, lasts)
