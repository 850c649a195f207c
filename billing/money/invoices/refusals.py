"""The refusal of what an invoice in its status does not allow."""

from billing.core.errors import Conflict
from billing.money.invoices.schemas import Invoice


def wrong_status(invoice: Invoice, why: str) -> Conflict:
    """Return INVOICE_STATE with the status: "an invoice that is paid cannot be voided"."""
    return Conflict(
        "INVOICE_STATE",
        f"an invoice that is {invoice.status} {why}",
        invoice_status=invoice.status,
    )
