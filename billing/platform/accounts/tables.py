"""The billed customer and the seller's legal entity that bills it.

An account row is the tenant of everything else; a frozen test clock lives on it.
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
    c.text("number_prefix"),
    c.flag("is_default", server_default=false()),
    c.text("email", nullable=True),
    # A line below each page of its documents.
    c.text("footer", nullable=True),
    # The key of one of its logos.
    c.text("logo", nullable=True),
    c.index("uq_issuers_default", "is_default", unique=True, where="is_default"),
)

# Documents name a logo by its hash: one that was replaced stays.
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
    # Who the customer is on the platform it was installed from, such as shopify / shop domain.
    c.text("platform", nullable=True),
    c.text("platform_domain", nullable=True),
    c.flag("is_test", server_default=false()),
    # The frozen clock of a test account; null means real time.
    c.instant("clock_at", nullable=True),
    c.instant("clock_target", nullable=True),
    c.text("clock_status", nullable=True),
    c.text("clock_blocked", nullable=True),
    c.text("stripe_customer_id", nullable=True, unique=True),
    # The seller that the account names; null means the default one of the day.
    c.reference("issuer_id", "issuers.id", nullable=True),
    # How it would rather pay single uses; suggested where it can [F26].
    c.text("preferred_billing_method", nullable=True),
    # What an operator has seen proof of, such as `student`.
    c.json("verified_as", server_default="[]"),
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
    # For the operators' search; so are those of other tables that name no account.
    c.index("ix_accounts_email", text("lower(email)"), where="email IS NOT NULL"),
    c.index("ix_accounts_name", text("lower(name)"), where="name IS NOT NULL"),
    # Most have no clock, and whoever records their uses asks for it each time.
    c.index("ix_accounts_clock", "id", where="clock_at IS NOT NULL"),
    # Row-level security compares this column where other tables have `account_id`.
    info={"tenant_key": "id"},
)
