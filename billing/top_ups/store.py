"""Every query on top-ups and their settings."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.credits.tables import credit_balances
from billing.top_ups.schemas import TopUp, TopUpSettings
from billing.top_ups.tables import top_up_settings, top_ups


async def settings(connection: AsyncConnection, account_id: UUID) -> TopUpSettings | None:
    """What the account wants, if it ever said so."""
    rows = await connection.execute(
        select(top_up_settings).where(top_up_settings.c.account_id == account_id)
    )
    row = rows.mappings().one_or_none()
    return TopUpSettings.model_validate(dict(row)) if row else None


async def put_settings(connection: AsyncConnection, row: dict[str, Any]) -> TopUpSettings:
    """Write an account's settings anew."""
    new = insert(top_up_settings).values(**row)
    written = await connection.execute(
        new.on_conflict_do_update(index_elements=["account_id"], set_=row).returning(
            top_up_settings
        )
    )
    return TopUpSettings.model_validate(dict(written.mappings().one()))


async def change_settings(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """Overwrite fields of an account's settings."""
    await connection.execute(
        update(top_up_settings).where(top_up_settings.c.account_id == account_id).values(**fields)
    )


async def change_balance(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """Overwrite what the debit function looks at; under the account's lock."""
    await connection.execute(
        update(credit_balances)
        .where(credit_balances.c.account_id == account_id)
        .values(**{f"top_up_{name}": value for name, value in fields.items()})
    )


async def get(connection: AsyncConnection, top_up_id: UUID) -> TopUp:
    """One top-up, which must exist."""
    rows = await connection.execute(select(top_ups).where(top_ups.c.id == top_up_id))
    return show(rows.mappings().one())


async def undecided(connection: AsyncConnection, account_id: UUID) -> TopUp | None:
    """The one that is wanted or being bought."""
    rows = await connection.execute(
        select(top_ups).where(top_ups.c.account_id == account_id, top_ups.c.decided_at.is_(None))
    )
    row = rows.mappings().one_or_none()
    return show(row) if row else None


async def change(connection: AsyncConnection, top_up_id: UUID, **fields: Any) -> TopUp:
    """Overwrite fields of one top-up."""
    rows = await connection.execute(
        update(top_ups).where(top_ups.c.id == top_up_id).values(**fields).returning(top_ups)
    )
    return show(rows.mappings().one())


async def spent(connection: AsyncConnection, account_id: UUID, since: datetime) -> int:
    """Money of top-ups wanted since then that was, or may still be, paid; in minor units."""
    total = await connection.scalar(
        select(func.coalesce(func.sum(top_ups.c.amount_minor), 0)).where(
            top_ups.c.account_id == account_id,
            top_ups.c.wanted_at >= since,
            top_ups.c.status.in_(("buying", "completed")),
        )
    )
    return int(total or 0)


def listing(account_id: UUID) -> Select[Any]:
    """The account's top-ups, to be ordered by (`wanted_at`, `id`)."""
    return select(top_ups).where(top_ups.c.account_id == account_id)


def show(row: RowMapping) -> TopUp:
    """A row as a top-up."""
    return TopUp.model_validate(dict(row))
