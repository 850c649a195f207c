"""Rendered documents: each is rendered once and then served from here."""

from sqlalchemy import LargeBinary
from sqlalchemy import UniqueConstraint as Unique

from billing.core import columns as c

invoice_documents = c.table(
    "invoice_documents",
    c.row_id(),
    c.account(),
    c.uuid("invoice_id"),
    # invoice, receipt, or the id of a credit note.
    c.text("kind"),
    c.text("etag"),
    c.column("content", LargeBinary),
    # Evidence: nothing reads it.
    c.instant("rendered_at"),
    c.same_account("invoice_id", "invoices"),
    Unique("invoice_id", "kind"),
    info={"append_only": True},
)
