"""The billed customer and the seller's legal entity that bills it.

An account row is the tenant of everything else; it also stores the frozen test clock.
"""

from sqlalchemy import LargeBinary, false, text

from billing.core import columns as c

issuers = c.table(
    "issuers",
    c.row_id(),
    c.text("key", unique=True),
    c.text("name"),
    c.json("address", server_default=text("'{}'::jsonb")),
    c.json("tax_ids", server_default=text("'[]'::jsonb")),
    # Nothing reads it: the migration after the next release drops it.
    c.text("number_prefix", server_default=""),
    c.flag("is_default", server_default=false()),
    c.text("email", nullable=True),
    # A line at the bottom of each page of its documents.
    c.text("footer", nullable=True),
    # The key of one of its logos.
    c.text("logo", nullable=True),
    c.index("uq_issuers_default", "is_default", unique=True, where="is_default"),
)

# Documents name a logo by its hash, so replaced logos stay.
issuer_logos = c.table(
    "issuer_logos",
    c.text("sha256", primary_key=True),
    c.column("content", LargeBinary),
    info={"append_only": True},
)

accounts = c.table(
    "accounts",
    c.row_id(),
    c.text("external_id", unique=True),
    c.text("kind", server_default="merchant"),
    c.text("name", nullable=True),
    c.text("email", nullable=True),
    c.text("zone", server_default="UTC"),
    c.text("country", nullable=True),
    c.text("locale", server_default="en"),
    # The platform it was installed from, and its domain there, such as shopify / shop domain.
    c.text("platform", nullable=True),
    c.text("platform_domain", nullable=True),
    c.flag("is_test", server_default=false()),
    # The frozen clock of a test account; null means real time.
    c.instant("clock_at", nullable=True),
    c.instant("clock_target", nullable=True),
    c.text("clock_status", nullable=True),
    c.text("clock_blocked", nullable=True),
    c.text("stripe_customer_id", nullable=True, unique=True),
    # The customer before, if it was deleted at Stripe.
    c.text("gone_customer_id", nullable=True),
    # The seller that the account names; null means the current default.
    c.reference("issuer_id", "issuers.id", nullable=True),
    # Its preferred method for single uses; suggested where possible [F26].
    c.text("preferred_billing_method", nullable=True),
    # Proven to an operator, such as `student`.
    c.json("verified_as", server_default="[]"),
    # Callers are shown it, but nothing decides by it: every account is active.
    c.text("status", server_default="active"),
    c.instant("created_at"),
    c.check("is_test OR (clock_at IS NULL AND clock_target IS NULL)", name="real_time"),
    c.check("clock_status IN ('ready', 'advancing', 'blocked')", name="clock_status"),
    c.check("(platform IS NULL) = (platform_domain IS NULL)", name="platform"),
    c.check(
        "preferred_billing_method IN ('wallet_deduction', 'credit_consumption', 'payment_charge')",
        name="preferred_method_known",
    ),
    c.index("ix_accounts_created", "created_at", "id"),
    # For the operators' search, as are other tables' indexes that do not begin with the account.
    c.index("ix_accounts_email", text("lower(email)"), where="email IS NOT NULL"),
    c.index("ix_accounts_name", text("lower(name)"), where="name IS NOT NULL"),
    c.index("ix_accounts_gone", "gone_customer_id", where="gone_customer_id IS NOT NULL"),
    # Each recording of uses reads the clock, and most accounts have none.
    c.index("ix_accounts_clock", "id", where="clock_at IS NOT NULL"),
    # Row-level security compares this column where other tables have `account_id`.
    info={"tenant_key": "id"},
)
