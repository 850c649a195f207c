"""Every query on stored payment methods: metadata only, one default per account [K2 to K5, K7]."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import NotFound
from billing.payments.schemas import Method
from billing.payments.tables import payment_methods


async def get(connection: AsyncConnection, method_id: UUID) -> Method:
    """One active method; PAYMENT_METHOD_NOT_FOUND."""
    row = (
        await connection.execute(
            select(payment_methods).where(
                payment_methods.c.id == method_id, payment_methods.c.status == "active"
            )
        )
    ).one_or_none()
    if row is None:
        raise NotFound("PAYMENT_METHOD_NOT_FOUND", "no such payment method")
    return show(row)


async def default(connection: AsyncConnection, account_id: UUID) -> Method | None:
    """The method charges use."""
    row = (
        await connection.execute(
            select(payment_methods).where(
                payment_methods.c.account_id == account_id,
                payment_methods.c.is_default,
                payment_methods.c.status == "active",
            )
        )
    ).one_or_none()
    return show(row) if row else None


async def change(connection: AsyncConnection, method_id: UUID, **fields: Any) -> Method:
    """Overwrite fields of one method."""
    row = await connection.execute(
        update(payment_methods)
        .where(payment_methods.c.id == method_id)
        .values(**fields)
        .returning(payment_methods)
    )
    return show(row.one())


def show(row: Any) -> Method:
    """A row as a method."""
    return Method.model_validate(dict(row._mapping))  # noqa: SLF001 (SQLAlchemy's public name)
