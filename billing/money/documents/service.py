"""Documents of invoices: each is rendered once, on the first request for it, and then kept.

Their content was frozen with the number, so the time of rendering makes no difference.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.money.documents import rules, store
from billing.money.documents.press import Press
from billing.money.documents.schemas import Document, Printed
from billing.money.invoices import snapshots
from billing.money.invoices import store as invoice_store
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import CreditNote, Invoice

Wanted = Literal["invoice", "receipt"] | CreditNote
Transaction = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


async def document(opened: Transaction, press: Press, invoice_id: UUID, wanted: Wanted) -> Document:
    """Return a document of an invoice. No transaction is open while it is rendered.

    Errors: INVOICE_NOT_FOUND, INVOICE_STATE, DOCUMENT_UNAVAILABLE.
    """
    key = ids.encode(ids.CREDIT_NOTE, wanted.id) if isinstance(wanted, CreditNote) else wanted
    async with opened() as connection:
        invoice = await invoice_store.get(connection, invoice_id)
        known = await store.find(connection, invoice_id, key)
        if known is not None:
            return known
        printed = await _composed(connection, invoice, wanted)
    content = await press.render(printed, invoice.account_id)
    made = Document(etag=hashlib.sha256(content).hexdigest(), content=content)
    if invoice.number is None:
        return made
    async with opened() as connection:
        return await store.keep(connection, invoice.account_id, invoice_id, key, made)


async def _composed(connection: AsyncConnection, invoice: Invoice, wanted: Wanted) -> Printed:
    """The texts of a document and its logo."""
    if invoice.status == "void" and invoice.number is None:
        raise wrong_status(invoice, "was never issued")
    snapshot = await _snapshot(connection, invoice)
    if isinstance(wanted, CreditNote):
        content = rules.credit_note(wanted, invoice, snapshot)
    elif wanted == "invoice":
        lines = await invoice_store.lines(connection, invoice.id)
        content = rules.invoice(invoice, lines, snapshot)
    else:
        paid_at = _paid_at(invoice)
        payments = await store.paid(connection, invoice.id, paid_at)
        content = rules.receipt(invoice, paid_at, payments, snapshot)
    logo = await store.logo(connection, snapshot["issuer"].get("logo"))
    return Printed(content=content, logo=logo)


def _paid_at(invoice: Invoice) -> datetime:
    if invoice.paid_at is None:
        raise wrong_status(invoice, "has no receipt")
    if not invoice.took_money:
        raise wrong_status(invoice, "without a payment has no receipt")
    return invoice.paid_at


async def _snapshot(connection: AsyncConnection, invoice: Invoice) -> dict[str, Any]:
    """Return the frozen snapshot; a draft's, or one missing since an older release, is of today."""
    known = await snapshots.get(connection, invoice.id)
    if known is not None:
        return known
    amounts = {
        "applied": invoice.balance_applied_minor,
        "due": invoice.amount_due_minor,
        "paid": invoice.amount_paid_minor,
    }
    if invoice.number is not None:
        await snapshots.keep(connection, invoice_id=invoice.id, at=invoice.created_at, **amounts)
    return await snapshots.of_today(connection, invoice.id, **amounts)
