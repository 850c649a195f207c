"""Billing details of an account, as its invoices show them."""

from uuid import UUID

from billing.core.frozen import Frozen


class CustomField(Frozen):
    """A line of the customer's own on its invoices, such as a cost center."""

    name: str
    value: str


class BillingDetails(Frozen):
    """An account's settings for its invoices; None: not set."""

    legal_name: str | None = None
    address_id: UUID | None = None
    billing_email: str | None = None
    cc_emails: tuple[str, ...] = ()
    po_number: str | None = None
    memo: str | None = None
    custom_fields: tuple[CustomField, ...] = ()
