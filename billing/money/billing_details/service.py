"""Billing details read and written, in the caller's transaction."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared
from billing.money.addresses import service as addresses
from billing.money.billing_details.schemas import BillingDetails
from billing.money.billing_details.tables import billing_details
from billing.platform.audit import service as audit


async def get(connection: AsyncConnection, account_id: UUID) -> BillingDetails:
    """The details of an account; empty ones where it has said nothing."""
    query = select(billing_details).where(billing_details.c.account_id == account_id)
    row = await prepared.find(connection, query)
    return BillingDetails.model_validate(dict(row)) if row else BillingDetails()


async def put(
    connection: AsyncConnection, account_id: UUID, details: BillingDetails, at: datetime
) -> BillingDetails:
    """Write them, for invoices numbered from now on. Errors: ADDRESS_NOT_FOUND."""
    if details.address_id is not None:
        await addresses.get(connection, account_id, details.address_id)
    before = await get(connection, account_id)
    row = {**details.model_dump(), "updated_at": at}
    new = insert(billing_details).values(account_id=account_id, **row)
    await connection.execute(
        new.on_conflict_do_update(index_elements=[billing_details.c.account_id], set_=row)
    )
    changed = [name for name, value in details if getattr(before, name) != value]
    if changed:
        await audit.record(
            connection, account_id=account_id, action="billing_details.changed",
            subject=ids.encode(ids.ACCOUNT, account_id), at=at, fields=sorted(changed),
        )  # fmt: skip
    return details
