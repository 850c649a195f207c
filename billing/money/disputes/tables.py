"""Disputes as the provider reports them, one row each."""

from billing.core import columns as c

disputes = c.table(
    "disputes",
    c.row_id(),
    c.account(),
    c.uuid("payment_id"),
    c.uuid("invoice_id"),
    c.text("stripe_dispute_id", unique=True),
    # The provider's status, such as needs_response, under_review, won or lost.
    c.text("status"),
    # inquiry: nothing was taken; open: the bank has the money; then won, lost or closed.
    c.text("state"),
    # What the bank demands, without the part that it returned though it kept the verdict.
    c.bigint("amount_minor"),
    c.bigint("returned_minor", server_default="0"),
    c.bigint("note_minor", server_default="0"),
    c.bigint("balance_minor", server_default="0"),
    # What the bank took beyond the money we still had: our loss.
    c.bigint("loss_minor", server_default="0"),
    # What came back though its credit note stands: it is on the money balance.
    c.bigint("noted_back_minor", server_default="0"),
    # What a note should take once there is room; set if some was reserved for something else.
    c.bigint("wanted_minor", server_default="0"),
    c.text("currency"),
    c.text("reason"),
    c.instant("evidence_due_at", nullable=True),
    # Reminders of the deadline that were sent.
    c.integer("reminders", server_default="0"),
    # Clawbacks, in order: `grant_key` and `amount` of each.
    c.json("credits", server_default="[]"),
    # Key of a grant that came after it was booked, and of which it takes its share.
    c.text("late_grant", nullable=True),
    c.instant("created_at"),
    # When it was lost and its credit note was written.
    c.instant("booked_at", nullable=True),
    c.instant("closed_at", nullable=True),
    # When a part came back after it was booked.
    c.instant("returned_at", nullable=True),
    c.check("amount_minor >= 0 AND amount_minor + returned_minor > 0", name="amount_positive"),
    c.check(
        "returned_minor >= noted_back_minor AND noted_back_minor >= 0"
        " AND (returned_minor > 0) = (returned_at IS NOT NULL)"
        " AND (returned_at IS NULL OR booked_at IS NOT NULL)",
        name="returned_after_booking",
    ),
    c.check(
        "least(note_minor, balance_minor, loss_minor,"
        " amount_minor - note_minor - balance_minor - loss_minor) >= 0",
        name="parts_fit",
    ),
    c.check("state IN ('inquiry', 'open', 'won', 'lost', 'closed')", name="state_known"),
    c.check("(state IN ('inquiry', 'open')) = (closed_at IS NULL)", name="closed_in_time"),
    c.same_account("payment_id", "payments"),
    c.same_account("invoice_id", "invoices"),
    c.index("ix_disputes_account", "account_id", "created_at", "id"),
    c.index("ix_disputes_created", "created_at", "id"),
    c.index("ix_disputes_invoice", "invoice_id"),
    c.index("ix_disputes_payment", "payment_id"),
    c.index("ix_disputes_unbooked", "closed_at", where="state = 'lost' AND booked_at IS NULL"),
    # For the export of postings.
    c.index("ix_disputes_booked", "booked_at", "id"),
    c.index("ix_disputes_closed", "closed_at", "id"),
    c.index("ix_disputes_returned", "returned_at", "id", where="returned_at IS NOT NULL"),
)
