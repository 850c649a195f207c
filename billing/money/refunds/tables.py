"""Money given back to the payer: one refund per payment, written before the provider is asked."""

from billing.core import columns as c

refunds = c.table(
    "refunds",
    c.row_id(),
    c.account(),
    # One refund per payment, held by the table; its key is the provider's idempotency key too.
    c.reference("payment_id", "payments.id", unique=True),
    c.reference("invoice_id", "invoices.id"),
    c.text("key", unique=True),
    # pending until the provider has said anything; then processing, succeeded or failed.
    c.text("status"),
    c.bigint("amount_minor"),
    c.text("currency"),
    c.text("reason"),
    c.text("stripe_refund_id", nullable=True, unique=True),
    c.text("failure", nullable=True),
    # From then on the provider may have it: it is looked for before it is asked for again.
    c.instant("asked_at", nullable=True),
    # How often the provider was asked whether it has arrived.
    c.integer("checks", server_default="0"),
    c.instant("last_check_at", nullable=True),
    c.instant("created_at"),
    c.instant("finished_at", nullable=True),
    c.check("amount_minor > 0", name="amount_positive"),
    c.check("status IN ('pending', 'processing', 'succeeded', 'failed')", name="status_known"),
    c.check(
        "(status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)", name="finished_in_time"
    ),
    c.same_account("payment_id", "payments"),
    c.same_account("invoice_id", "invoices"),
    c.index("ix_refunds_account", "account_id", "created_at", "id"),
    c.index("ix_refunds_invoice", "invoice_id"),
)
