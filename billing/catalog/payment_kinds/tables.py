"""The kinds of payment methods that are offered, and where."""

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY

from billing.core import columns as c

payment_method_configs = c.table(
    "payment_method_configs",
    # The provider's own name: card, us_bank_account, sepa_debit, bank_transfer, paypal.
    c.text("key", primary_key=True),
    c.text("kind"),
    c.text("provider"),
    # Codes of ISO 3166-1 and ISO 4217; empty: everywhere, in every currency.
    c.column("countries", ARRAY(Text), server_default="{}"),
    c.column("currencies", ARRAY(Text), server_default="{}"),
    c.integer("position", server_default="0"),
    c.flag("is_active"),
    c.check("kind IN ('card', 'bank_transfer', 'other')", name="kind_known"),
    c.check("provider IN ('stripe', 'manual', 'paypal')", name="provider_known"),
)
