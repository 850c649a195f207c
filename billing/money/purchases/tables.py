"""One row per credit pack bought: what, for how much, by which flow, and how it ended."""

from billing.core import columns as c

purchases = c.table(
    "purchases",
    c.row_id(),
    c.account(),
    c.text("pack"),
    c.text("pack_name"),
    c.amount("credits"),
    c.bigint("amount_minor"),
    c.text("currency"),
    c.text("platform"),
    c.text("flow"),
    c.uuid("payment_method_id", nullable=True),
    c.text("status"),
    c.uuid("invoice_id"),
    c.text("return_url", nullable=True),
    # The top-up behind an automatic purchase.
    c.uuid("top_up_id", nullable=True),
    c.text("failure_code", nullable=True),
    c.text("failure_message", nullable=True),
    c.text("correlation_id", nullable=True),
    c.text("created_by", nullable=True),
    c.instant("created_at"),
    c.instant("expires_at"),
    c.instant("completed_at", nullable=True),
    c.instant("closed_at", nullable=True),
    c.instant("archived_at", nullable=True),
    c.same_account("invoice_id", "invoices"),
    c.same_account("payment_method_id", "payment_methods"),
    c.same_account("top_up_id", "top_ups"),
    c.check(
        "status IN ('pending', 'completed', 'failed', 'expired', 'canceled', 'refunded')",
        name="status_known",
    ),
    c.index("ix_purchases_account_created", "account_id", "created_at", "id"),
    c.index("ix_purchases_invoice", "invoice_id"),
    c.index("ix_purchases_pack", "pack", "id"),
    c.index("ix_purchases_status", "status", "id", where="status NOT IN ('completed', 'pending')"),
    c.index("ix_purchases_pending", "expires_at", where="status = 'pending'"),
    c.index("ix_purchases_unarchived", "created_at", where="archived_at IS NULL"),
)
