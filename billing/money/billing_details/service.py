"""Billing details written, in the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.ledger.credits import service as credits
from billing.money.addresses import service as address_service
from billing.money.billing_details import store
from billing.money.billing_details.schemas import BillingDetails
from billing.money.invoice_requests import locks
from billing.money.invoices import store as invoice_store
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import Invoice
from billing.platform.audit import service as audit


async def put(
    connection: AsyncConnection, account_id: UUID, details: BillingDetails, at: datetime
) -> BillingDetails:
    """Write the details, for invoices numbered from now on. Errors: ADDRESS_NOT_FOUND."""
    if details.address_id is not None:
        # Removals take this lock, so the named address is not removed meanwhile.
        await credits.lock(connection, account_id)
        await address_service.get(connection, account_id, details.address_id)
    before = await store.get(connection, account_id)
    await store.put(connection, account_id, {**details.model_dump(), "updated_at": at})
    changed = [name for name, value in details if getattr(before, name) != value]
    if changed:
        await audit.record(
            connection, account_id=account_id, action="billing_details.changed",
            subject=ids.encode(ids.ACCOUNT, account_id), at=at, fields=sorted(changed),
        )  # fmt: skip
    return details


async def reword(
    connection: AsyncConnection, invoice_id: UUID, words: Mapping[str, Any], at: datetime
) -> Invoice:
    """Write the PO number, memo or custom fields of a draft, instead of those of its account.

    Errors: INVOICE_NOT_FOUND, INVOICE_STATE.
    """
    invoice = await locks.take(connection, invoice_id)
    if invoice.status != "draft":
        raise wrong_status(invoice, "can no longer be edited")
    if not words:
        return invoice
    await audit.record(
        connection, account_id=invoice.account_id, action="invoice.reworded",
        subject=ids.encode(ids.INVOICE, invoice_id), at=at, fields=sorted(words),
    )  # fmt: skip
    return await invoice_store.change(connection, invoice_id, **words)
