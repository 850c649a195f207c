"""Tables of drafts, numbered invoices with frozen content, credit notes, and the money balance.

Numbers are gapless per issuer series and taken last in the transaction (docs/rules/invoices.md).
"""

from sqlalchemy import Date, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSONB

from billing.core import columns as c

invoices = c.table(
    "invoices",
    c.row_id(),
    c.account(),
    c.reference("issuer_id", "issuers.id", nullable=True),
    # The matter that collects it: purchase/…, subscription/… or collection/….
    c.text("workflow_id"),
    c.uuid("subscription_id", nullable=True),
    c.uuid("purchase_id", nullable=True),
    # The business fact it bills, once: pur_…/invoice, sub_…/period-<start>.
    c.text("fact_key", unique=True),
    c.text("status"),
    c.text("series", nullable=True),
    c.text("number", nullable=True),
    c.text("currency"),
    c.bigint("subtotal_minor"),
    c.bigint("discount_minor", server_default="0"),
    c.bigint("tax_minor", server_default="0"),
    # The part of the tax that prices include.
    c.bigint("tax_included_minor", server_default="0"),
    c.bigint("total_minor"),
    c.bigint("balance_applied_minor", server_default="0"),
    c.bigint("amount_due_minor"),
    c.bigint("amount_paid_minor", server_default="0"),
    c.bigint("amount_credited_minor", server_default="0"),
    c.bigint("amount_refunded_minor", server_default="0"),
    # How it was settled: payment, zero, carried, credited (it was not due), forgiven.
    c.text("settlement", nullable=True),
    # automatic; held: more than one renewal or cycle was missed, an operator decides; or
    # send_invoice: by transfer, no card is tried.
    c.text("collection", server_default="automatic"),
    c.instant("period_start", nullable=True),
    c.instant("period_end", nullable=True),
    c.instant("cycle_start", nullable=True),
    c.instant("cycle_end", nullable=True),
    # Retry-now requests by payer or operator; the charge of the last one is inv_…/now-<n>.
    c.integer("pay_requests", server_default="0"),
    c.instant("pay_requested_at", nullable=True),
    # The buyer of the purchase wants it canceled. Not a column of purchases: the release before
    # reads all of theirs by statements that it has prepared.
    c.instant("cancel_asked_at", nullable=True),
    c.uuid("pay_method_id", nullable=True),
    c.text("payment_reference", nullable=True, unique=True),
    # The customer's own for this invoice, until it is numbered; NULL: those of the billing details.
    c.text("po_number", nullable=True),
    c.text("memo", nullable=True),
    # A list of {name, value}; null: those of the billing details.
    c.column("custom_fields", JSONB(none_as_null=True), nullable=True),
    # The id by which a draft is free of tax; NULL: its document has the account's of then.
    c.text("vat_id", nullable=True),
    c.text("content_hash", nullable=True),
    # NULL until Stripe Billing may be in charge of subscriptions (docs/roadmap.md).
    c.text("stripe_invoice_id", nullable=True, unique=True),
    c.column("issued_on", Date, nullable=True),
    c.instant("due_at", nullable=True),
    c.instant("finalized_at", nullable=True),
    c.instant("paid_at", nullable=True),
    c.instant("voided_at", nullable=True),
    c.instant("created_at"),
    c.whole_key(),
    c.same_account("pay_method_id", "payment_methods"),
    c.same_account("subscription_id", "subscriptions"),
    c.same_account("purchase_id", "purchases", **c.MUTUAL),
    Unique("series", "number"),
    c.check("total_minor >= 0", name="total_not_negative"),
    c.check("amount_due_minor >= 0", name="due_not_negative"),
    c.check("amount_paid_minor >= 0", name="paid_not_negative"),
    c.check("status IN ('draft', 'open', 'paid', 'void', 'uncollectible')", name="status_known"),
    c.check(
        "(status IN ('open', 'paid', 'uncollectible')) <= (number IS NOT NULL)", name="numbered"
    ),
    c.index("ix_invoices_account_created", "account_id", "created_at", "id"),
    c.index("ix_invoices_account_status_created", "account_id", "status", "created_at", "id"),
    c.index("ix_invoices_workflow", "workflow_id"),
    c.index("ix_invoices_unpaid", "status", "id", where="status <> 'paid'"),
    c.index("ix_invoices_number", "number", where="number IS NOT NULL"),
    c.index("ix_invoices_collection", "collection", "id", where="collection <> 'automatic'"),
    c.index("ix_invoices_subscription", "subscription_id", "created_at"),
    # For the export of postings.
    c.index("ix_invoices_issued", "issued_on", "id"),
)

invoice_lines = c.table(
    "invoice_lines",
    c.row_id(),
    c.account(),
    c.uuid("invoice_id"),
    c.integer("position"),
    c.text("kind"),
    c.text("description"),
    c.total("quantity"),
    c.amount("unit_amount"),
    c.bigint("amount_minor"),
    c.instant("period_start", nullable=True),
    c.instant("period_end", nullable=True),
    c.json("detail", server_default="{}"),
    # Its part of each discount and tax: its total is amount - discount + tax - tax_included.
    c.bigint("discount_minor", server_default="0"),
    c.bigint("tax_minor", server_default="0"),
    c.bigint("tax_included_minor", server_default="0"),
    c.json("discounts", server_default="[]"),
    c.json("taxes", server_default="[]"),
    c.same_account("invoice_id", "invoices"),
    Unique("invoice_id", "position"),
    # Finds what was billed of a cycle's usage before.
    c.index("ix_invoice_lines_usage", "account_id", "period_start", where="kind = 'usage'"),
    # Finds what a price charged.
    c.index("ix_invoice_lines_price", text("(detail ->> 'price')"), "id", where="kind = 'plan'"),
)

# The seller and the customer as they were at finalization, for the documents of the invoice.
invoice_snapshots = c.table(
    "invoice_snapshots",
    c.uuid("invoice_id", primary_key=True),
    c.account(),
    c.json("content"),
    c.same_account("invoice_id", "invoices"),
    info={"append_only": True},
)

invoice_series = c.table(
    "invoice_series",
    c.text("series", primary_key=True),
    c.bigint("last_number"),
    c.column("last_issued_on", Date),
)

skipped_numbers = c.table(
    "skipped_numbers",
    c.row_id(),
    c.text("series"),
    c.bigint("first_number"),
    c.bigint("last_number"),
    c.text("reason"),
    c.instant("at"),
    Unique("series", "first_number"),
    c.check("first_number <= last_number", name="at_least_one"),
    info={"append_only": True},
)

credit_notes = c.table(
    "credit_notes",
    c.row_id(),
    c.account(),
    c.uuid("invoice_id"),
    # The release before names none: its notes forgive, or a trigger says what they do.
    c.text("kind", server_default="forgiven"),
    c.text("fact_key", unique=True),
    c.text("series"),
    c.text("number"),
    c.text("reason"),
    c.bigint("amount_minor"),
    c.text("currency"),
    c.json("lines", server_default="[]"),
    # The tax in its amount, and its parts by rate.
    c.bigint("tax_minor", server_default="0"),
    c.json("taxes", server_default="[]"),
    # True if it credits what was served: a minimum counts it as spent.
    c.flag("was_served", server_default="false"),
    c.column("issued_on", Date),
    c.instant("created_at"),
    c.same_account("invoice_id", "invoices"),
    Unique("series", "number"),
    c.check("amount_minor > 0", name="amount_positive"),
    c.check(
        "kind IN ('operator', 'wrong_price', 'voided_use', 'reverse_charge', 'change',"
        " 'canceled', 'unserved', 'forgiven', 'void', 'refund', 'dispute')",
        name="kind_known",
    ),
    c.index("ix_credit_notes_account", "account_id", "created_at"),
    c.index("ix_credit_notes_number", "number"),
    c.index("ix_credit_notes_issued", "issued_on", "id"),
    info={"append_only": True},
)

balance_entries = c.table(
    "balance_entries",
    c.row_id(),
    c.account(),
    c.text("key", unique=True),
    c.text("kind"),
    # Positive: the customer's money with us; negative: carried to the next invoice.
    c.bigint("amount_minor"),
    c.text("currency"),
    c.uuid("invoice_id", nullable=True),
    c.uuid("payment_id", nullable=True),
    # For an operator's adjustment, which no invoice has caused.
    c.text("reason", nullable=True),
    c.instant("at"),
    c.same_account("invoice_id", "invoices"),
    c.same_account("payment_id", "payments"),
    c.index("ix_balance_entries_account", "account_id", "at"),
    c.index("ix_balance_entries_at", "at", "id"),
    info={"append_only": True},
)
