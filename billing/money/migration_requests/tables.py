"""Requests of accounts to be moved to the sandbox or into production; operators handle them."""

from billing.core import columns as c

migration_requests = c.table(
    "migration_requests",
    c.row_id(),
    c.account(),
    c.text("environment"),
    c.text("notes"),
    c.text("requested_by"),
    c.instant("created_at"),
    # Null while it waits for an operator, who then says what was done.
    c.instant("handled_at", nullable=True),
    c.text("handled_by", nullable=True),
    c.text("comment", nullable=True),
    c.check("environment IN ('sandbox', 'production')", name="environment_known"),
    c.check("num_nulls(handled_at, handled_by, comment) IN (0, 3)", name="handled_by_somebody"),
    c.index("ix_migration_requests_account", "account_id", "id"),
    c.index("ix_migration_requests_queued", "id", where="handled_at IS NULL"),
)
