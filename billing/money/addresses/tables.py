"""Billing addresses of accounts; one of them is the default, which decides the tax."""

from billing.core import columns as c

billing_addresses = c.table(
    "billing_addresses",
    c.row_id(),
    c.account(),
    # The caller's own user that it belongs to.
    c.text("user_id", nullable=True),
    c.text("line1"),
    c.text("line2", nullable=True),
    c.text("city"),
    # A state, province or region, as the country's postal service writes it.
    c.text("state", nullable=True),
    c.text("postal_code", nullable=True),
    c.text("country"),
    c.flag("is_default", server_default="false"),
    c.instant("created_at"),
    c.instant("updated_at"),
    c.whole_key(),
    c.check("country ~ '^[A-Z]{2}$'", name="country_is_a_code"),
    c.index("ix_billing_addresses_account", "account_id", "created_at", "id"),
    c.index("uq_billing_addresses_default", "account_id", unique=True, where="is_default"),
)
