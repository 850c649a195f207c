"""Queries on billing addresses."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.core.prepared import Prepared, given
from billing.money.addresses.schemas import Address
from billing.money.addresses.tables import billing_addresses

_OF_ACCOUNT: Final = select(billing_addresses).where(
    billing_addresses.c.account_id == given("account_id")
)
_DEFAULT: Final = Prepared(_OF_ACCOUNT.where(billing_addresses.c.is_default))
_OTHERS: Final = Prepared(
    _OF_ACCOUNT.where(billing_addresses.c.id != given("address_id")).order_by(
        billing_addresses.c.created_at.desc(), billing_addresses.c.id.desc()
    )
)
_UNNAME: Final = Prepared(
    text(
        "UPDATE billing_details SET address_id = NULL, updated_at = :at"
        " WHERE account_id = :account_id AND address_id = :address_id"
    )
)


async def default(connection: AsyncConnection, account_id: UUID) -> Address | None:
    """The address that decides the tax of the account's invoices [K13]."""
    row = await _DEFAULT.first(connection, account_id=account_id)
    return Address.model_validate(row) if row else None


async def find(
    connection: AsyncConnection, account_id: UUID, address_id: UUID, user_id: str | None = None
) -> Address | None:
    """One address that `listing` has."""
    query = listing(account_id, user_id).where(billing_addresses.c.id == address_id)
    row = await prepared.find(connection, query)
    return Address.model_validate(row) if row else None


async def others(connection: AsyncConnection, account_id: UUID, address_id: UUID) -> list[Address]:
    """All addresses of the account but this one, newest first."""
    rows = await _OTHERS.all(connection, account_id=account_id, address_id=address_id)
    return [Address.model_validate(row) for row in rows]


async def count(connection: AsyncConnection, account_id: UUID) -> int:
    """Number of addresses of the account."""
    query = select(func.count()).where(billing_addresses.c.account_id == account_id)
    return int(await connection.scalar(query) or 0)


async def have_no_default(connection: AsyncConnection, account_id: UUID) -> None:
    """Clear the account's default address."""
    await connection.execute(
        update(billing_addresses)
        .where(billing_addresses.c.account_id == account_id, billing_addresses.c.is_default)
        .values(is_default=False)
    )


async def unname(
    connection: AsyncConnection, account_id: UUID, address_id: UUID, at: datetime
) -> bool:
    """Remove this address from the billing details; True if they named it."""
    touched = await _UNNAME.run(connection, account_id=account_id, address_id=address_id, at=at)
    return touched > 0


def listing(account_id: UUID, user_id: str | None = None) -> Select[Any]:
    """Select the account's addresses, of all users or of this one and of none; the caller orders
    and limits.
    """
    owner = billing_addresses.c.user_id
    query = select(billing_addresses).where(billing_addresses.c.account_id == account_id)
    return query if user_id is None else query.where(or_(owner.is_(None), owner == user_id))
