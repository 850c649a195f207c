"""Money given back to the payer: each refund is written before the provider is asked."""

from billing.core import columns as c

refunds = c.table(
    "refunds",
    c.row_id(),
    c.account(),
    c.uuid("payment_id"),
    c.uuid("invoice_id"),
    # The provider's idempotency key too.
    c.text("key", unique=True),
    # pending until the provider has said anything; then processing, succeeded or failed.
    c.text("status"),
    # provider: to the card or wallet that paid; outside: by hand; balance: the money balance.
    c.text("way", server_default="provider"),
    c.bigint("amount_minor"),
    # The part that a credit note credits, and the part that leaves the money balance.
    # Neither is set where the money was never booked on an invoice.
    c.bigint("note_minor", server_default="0"),
    c.bigint("balance_minor", server_default="0"),
    # What a note should take once there is room; set if some was reserved for something else.
    c.bigint("wanted_minor", server_default="0"),
    c.text("currency"),
    # The position of the invoice's line that cost too much; NULL: it is about all of them.
    c.integer("line", nullable=True),
    c.text("reason"),
    # The operator's reference of a refund made outside of the service.
    c.text("reference", nullable=True),
    c.text("stripe_refund_id", nullable=True, unique=True),
    c.text("failure", nullable=True),
    # From then on the provider may have it, so a retry looks for it first.
    c.instant("asked_at", nullable=True),
    # How often the provider was asked whether it has arrived.
    c.integer("checks", server_default="0"),
    c.instant("last_check_at", nullable=True),
    c.instant("created_at"),
    # When its credit note was written and its credits were clawed back.
    c.instant("booked_at", nullable=True),
    # Clawbacks, in order: `grant_key` and `amount` of each.
    c.json("credits", server_default="[]"),
    # Key of a grant that came after it was booked, and of which it takes its share.
    c.text("late_grant", nullable=True),
    c.instant("finished_at", nullable=True),
    # The operator's choice: a subscription whose period the payment covered continues.
    c.flag("keep_subscription", server_default="false"),
    # Also: the customer keeps the credits, because only the price was too high.
    c.flag("keep_credits", server_default="false"),
    c.check("amount_minor > 0", name="amount_positive"),
    c.check(
        "least(note_minor, balance_minor, amount_minor - note_minor - balance_minor) >= 0",
        name="parts_fit",
    ),
    c.check("way IN ('provider', 'outside', 'balance')", name="way_known"),
    c.check("status IN ('pending', 'processing', 'succeeded', 'failed')", name="status_known"),
    c.check(
        "(status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)", name="finished_in_time"
    ),
    c.same_account("payment_id", "payments"),
    c.same_account("invoice_id", "invoices"),
    c.index("ix_refunds_account", "account_id", "created_at", "id"),
    c.index("ix_refunds_invoice", "invoice_id"),
    c.index("ix_refunds_payment", "payment_id"),
    c.index("ix_refunds_reference", "reference", where="reference IS NOT NULL"),
    # For the export of postings.
    c.index("ix_refunds_booked", "booked_at", "id"),
    c.index("ix_refunds_finished", "finished_at", "id"),
)
