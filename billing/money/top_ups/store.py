"""Queries on top-ups and their settings."""

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Table, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared, row_writes
from billing.core.prepared import Fields, Prepared, given
from billing.ledger.credits.tables import credit_balances
from billing.money.top_ups.schemas import TopUp, TopUpSettings
from billing.money.top_ups.tables import top_up_settings, top_ups

_ASK_IF_LOW = Prepared(
    text("SELECT coalesce(wanted, false) FROM credit_check_top_up(:account_id, :at)")
)
_HAS_ASKED = Prepared(text("SELECT coalesce(current_setting('app.top_ups', true), '') <> ''"))
_SETTINGS = Prepared(
    select(top_up_settings).where(top_up_settings.c.account_id == given("of_account"))
)
_GET = Prepared(select(top_ups).where(top_ups.c.id == given("top_up_id")))


async def settings(connection: AsyncConnection, account_id: UUID) -> TopUpSettings | None:
    """The account's top-up setting, if it has one."""
    row = await _SETTINGS.first(connection, of_account=account_id)
    return TopUpSettings.model_validate(row) if row else None


async def put_settings(connection: AsyncConnection, row: dict[str, Any]) -> TopUpSettings:
    """Insert or replace an account's settings."""
    new = insert(top_up_settings).values(**row)
    written = await connection.execute(
        new.on_conflict_do_update(index_elements=["account_id"], set_=row).returning(
            top_up_settings
        )
    )
    return TopUpSettings.model_validate(dict(written.mappings().one()))


async def change_settings(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """Overwrite fields of an account's settings."""
    change = _change(top_up_settings, tuple(fields))
    await change.send(connection, of_account=account_id, **fields)


async def change_balance(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """Overwrite the top-up fields that the debit function reads; under the account's lock."""
    named = {f"top_up_{name}": value for name, value in fields.items()}
    change = _change(credit_balances, tuple(named))
    await change.send(connection, of_account=account_id, **named)


async def get(connection: AsyncConnection, top_up_id: UUID) -> TopUp:
    """One top-up, which must exist."""
    return show(await _GET.one(connection, top_up_id=top_up_id))


async def undecided(connection: AsyncConnection, account_id: UUID) -> TopUp | None:
    """The account's top-up that is wanted or being bought."""
    mine = top_ups.c.account_id == account_id
    row = await prepared.find(
        connection, select(top_ups).where(mine, top_ups.c.decided_at.is_(None))
    )
    return show(row) if row else None


async def change(connection: AsyncConnection, top_up_id: UUID, **fields: Any) -> TopUp:
    """Overwrite fields of one top-up."""
    return show(await row_writes.change(connection, top_ups, top_up_id, **fields))


async def ask_if_low(connection: AsyncConnection, account_id: UUID, at: datetime) -> bool:
    """Request credits, once, and wake the matter if the balance is low; True if it is."""
    return bool(await _ASK_IF_LOW.scalar(connection, account_id=account_id, at=at))


async def has_asked(connection: AsyncConnection) -> bool:
    """True if this transaction requested credits: wake the account's matter after it."""
    return bool(await _HAS_ASKED.scalar(connection))


def listing(account_id: UUID) -> Select[Any]:
    """The account's top-ups, to be ordered by (`wanted_at`, `id`)."""
    return select(top_ups).where(top_ups.c.account_id == account_id)


def show(row: Fields) -> TopUp:
    """A row as a top-up."""
    return TopUp.model_validate(dict(row))


@cache
def _change(table: Table, columns: tuple[str, ...]) -> Prepared:
    fields = {name: given(name) for name in columns}
    return Prepared(update(table).where(table.c.account_id == given("of_account")).values(fields))
