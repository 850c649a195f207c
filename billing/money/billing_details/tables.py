"""The customer's settings for its invoices: one row per account that has set any."""

from sqlalchemy import text

from billing.core import columns as c

billing_details = c.table(
    "billing_details",
    c.account(primary_key=True),
    c.text("legal_name", nullable=True),
    # The address on its invoices, if it is not the default one.
    c.uuid("address_id", nullable=True),
    c.text("billing_email", nullable=True),
    c.json("cc_emails", server_default="[]"),
    # Printed on its invoices unless an invoice has its own.
    c.text("po_number", nullable=True),
    c.text("memo", nullable=True),
    # A list of {name, value}.
    c.json("custom_fields", server_default="[]"),
    c.instant("updated_at"),
    c.same_account("address_id", "billing_addresses"),
    c.index("ix_billing_details_email", text("lower(billing_email)")),
)
