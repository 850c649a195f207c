"""Reports of a payer for a purchase that has ended unpaid: until when, and with which coupon.

The purchase keeps its price, so without an end it would be an option on the price of that day.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.money.discounts import service as discount_service
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import Invoice

ACCEPTED_FOR: Final = timedelta(days=30)
"""The time after the end of a purchase in which its payer may report a transfer."""


async def demand_acceptable(
    connection: AsyncConnection, invoice: Invoice, at: datetime, *, by_operator: bool
) -> None:
    """Refuse a report that comes too late; reserve the released coupon again for one in time.

    An operator reports money that has come anyway. Errors: INVOICE_STATE, INVALID_COUPON.
    """
    if by_operator or invoice.purchase_id is None or invoice.voided_at is None:
        return
    if at >= invoice.voided_at + ACCEPTED_FOR:
        days = ACCEPTED_FOR.days
        raise wrong_status(invoice, f"cannot be paid {days} days after its purchase has ended")
    await discount_service.reserve_again(connection, invoice.purchase_id)


async def reject(connection: AsyncConnection, invoice: Invoice, at: datetime) -> None:
    """Release the coupon of an ended purchase whose reported money did not come."""
    if invoice.purchase_id is not None and invoice.voided_at is not None:
        await discount_service.release(connection, invoice.purchase_id, at)
