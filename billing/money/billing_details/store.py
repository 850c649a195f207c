"""Queries on billing details."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.money.billing_details.schemas import BillingDetails
from billing.money.billing_details.tables import billing_details


async def get(connection: AsyncConnection, account_id: UUID) -> BillingDetails:
    """Return the details of an account; empty ones if it has set none."""
    query = select(billing_details).where(billing_details.c.account_id == account_id)
    row = await prepared.find(connection, query)
    return BillingDetails.model_validate(dict(row)) if row else BillingDetails()


async def put(connection: AsyncConnection, account_id: UUID, row: dict[str, Any]) -> None:
    """Write the account's one row."""
    new = insert(billing_details).values(account_id=account_id, **row)
    await connection.execute(
        new.on_conflict_do_update(index_elements=[billing_details.c.account_id], set_=row)
    )
