"""Queries on documents, and on the logos and payments that they show."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared, row_writes
from billing.core.clock import real_now
from billing.core.prepared import Prepared, given
from billing.money.documents.schemas import Document
from billing.money.documents.tables import invoice_documents
from billing.money.payment_methods.rules import DEBIT_CURRENCIES
from billing.money.payment_methods.tables import payment_methods
from billing.money.payments.schemas import PAYPAL
from billing.money.payments.store import is_of
from billing.money.payments.tables import payments
from billing.platform.accounts.tables import issuer_logos

_FIND: Final = Prepared(
    select(invoice_documents.c.etag, invoice_documents.c.content).where(
        invoice_documents.c.invoice_id == given("invoice_id"),
        invoice_documents.c.kind == given("kind"),
    )
)
_LOGO: Final = Prepared(
    select(issuer_logos.c.content).where(issuer_logos.c.sha256 == given("sha256"))
)
# Money that came later is left out, because it was no longer for this invoice.
_PAID: Final = Prepared(
    select(
        payments.c.paid_at,
        payments.c.received_on,
        payments.c.received_minor,
        payments.c.manual_method,
        payments.c.transaction_reference,
        payments.c.flow,
        payments.c.paid_with,
        payment_methods.c.provider_kind,
        payment_methods.c.brand,
        payment_methods.c.last4,
    )
    .outerjoin(payment_methods, payment_methods.c.id == payments.c.payment_method_id)
    .where(
        is_of(given("invoice_id")),
        payments.c.settled_at <= given("until"),
        payments.c.received_minor > 0,
    )
    .order_by(payments.c.paid_at, payments.c.id)
)


async def find(connection: AsyncConnection, invoice_id: UUID, kind: str) -> Document | None:
    """Find a document that was already rendered."""
    row = await _FIND.first(connection, invoice_id=invoice_id, kind=kind)
    return Document.model_validate(row) if row else None


async def keep(
    connection: AsyncConnection, account_id: UUID, invoice_id: UUID, kind: str, made: Document
) -> Document:
    """Store a rendered document; of two rendered at the same time the first stays."""
    row = {
        "id": ids.new(), "account_id": account_id, "invoice_id": invoice_id, "kind": kind,
        "etag": made.etag, "content": made.content, "rendered_at": real_now(),
    }  # fmt: skip
    if await row_writes.add_unless_there(connection, invoice_documents, row) is not None:
        return made
    first = await find(connection, invoice_id, kind)
    return first or made


async def logo(connection: AsyncConnection, sha256: str | None) -> bytes | None:
    """The picture of this hash."""
    if sha256 is None:
        return None
    found: bytes | None = await _LOGO.scalar(connection, sha256=sha256)
    return found


async def paid(
    connection: AsyncConnection, invoice_id: UUID, until: datetime
) -> list[tuple[date, str, int]]:
    """Return the payments of an invoice: the day, how it was paid, and the minor units."""
    rows = await _PAID.all(connection, invoice_id=invoice_id, until=until)
    return [
        (row["received_on"] or row["paid_at"].date(), _how(row), row["received_minor"])
        for row in rows
    ]


def _how(row: prepared.Row) -> str:
    """Describe how a payment was made; a method that the payer did not save has no name."""
    if row["manual_method"] is not None:
        reference = row["transaction_reference"]
        return " ".join(filter(None, (row["manual_method"].replace("_", " "), reference)))
    if row["flow"] == PAYPAL:
        return "PayPal"
    card = row["paid_with"] or row
    if card["last4"] is None:
        return "Online payment"
    is_account = card["provider_kind"] in DEBIT_CURRENCIES
    name = "Bank account" if is_account else (card["brand"] or "card").title()
    return f"{name} ending in {card['last4']}"
