"""Tables of drafts, numbered invoices with frozen content, credit notes, and the money balance.

Numbers are gapless per issuer series and taken last in the transaction (docs/rules.md#invoices).
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

invoices = Table(
    "invoices",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("issuer_id", Uuid, ForeignKey("issuers.id")),
    # The matter that collects it: purchase/…, subscription/… or collection/….
    Column("workflow_id", Text, nullable=False),
    Column("subscription_id", Uuid),
    Column("purchase_id", Uuid),
    # The business fact it bills, once: pur_…/invoice, sub_…/period-3.
    Column("fact_key", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    Column("series", Text),
    Column("number", Text),
    Column("currency", Text, nullable=False),
    Column("subtotal_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False, server_default="0"),
    Column("total_minor", BigInteger, nullable=False),
    Column("balance_applied_minor", BigInteger, nullable=False, server_default="0"),
    Column("amount_due_minor", BigInteger, nullable=False),
    Column("amount_paid_minor", BigInteger, nullable=False, server_default="0"),
    Column("amount_credited_minor", BigInteger, nullable=False, server_default="0"),
    # How it was settled: payment, zero, carried, forgiven.
    Column("settlement", Text),
    # automatic, or held: more than one renewal was missed, an operator decides.
    Column("collection", Text, nullable=False, server_default="automatic"),
    Column("period_start", DateTime(timezone=True)),
    Column("period_end", DateTime(timezone=True)),
    Column("cycle_start", DateTime(timezone=True)),
    Column("cycle_end", DateTime(timezone=True)),
    # Retry-now requests by payer or operator; the charge of the last one is inv_…/now-<n>.
    Column("pay_requests", Integer, nullable=False, server_default="0"),
    Column("pay_requested_at", DateTime(timezone=True)),
    Column("pay_method_id", Uuid),
    Column("payment_reference", Text, unique=True),
    Column("content_hash", Text),
    Column("stripe_invoice_id", Text, unique=True),
    Column("issued_on", Date),
    Column("due_at", DateTime(timezone=True)),
    Column("finalized_at", DateTime(timezone=True)),
    Column("paid_at", DateTime(timezone=True)),
    Column("voided_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Unique("series", "number"),
    CheckConstraint("total_minor >= 0", name="total_not_negative"),
    CheckConstraint("amount_due_minor >= 0", name="due_not_negative"),
    CheckConstraint("amount_paid_minor >= 0", name="paid_not_negative"),
    CheckConstraint(
        "status IN ('draft', 'open', 'paid', 'void', 'uncollectible')", name="status_known"
    ),
    CheckConstraint(
        "(status IN ('open', 'paid', 'uncollectible')) <= (number IS NOT NULL)", name="numbered"
    ),
    Index("ix_invoices_account_created", "account_id", "created_at", "id"),
    Index("ix_invoices_account_status_created", "account_id", "status", "created_at", "id"),
    Index("ix_invoices_workflow", "workflow_id"),
    Index("ix_invoices_subscription", "subscription_id", "created_at"),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("quantity", Numeric(27, 12), nullable=False),
    Column("unit_amount", Numeric(27, 12), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("period_start", DateTime(timezone=True)),
    Column("period_end", DateTime(timezone=True)),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    Unique("invoice_id", "position"),
    # What was billed of a cycle's usage before.
    Index(
        "ix_invoice_lines_usage",
        "account_id",
        "period_start",
        postgresql_where=text("kind = 'usage'"),
    ),
)

invoice_series = Table(
    "invoice_series",
    metadata,
    Column("series", Text, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
    Column("last_issued_on", Date, nullable=False),
)

credit_notes = Table(
    "credit_notes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False),
    Column("fact_key", Text, nullable=False, unique=True),
    Column("series", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Unique("series", "number"),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    Index("ix_credit_notes_account", "account_id", "created_at"),
    info={"append_only": True},
)

balance_entries = Table(
    "balance_entries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    # Positive: the customer's money with us; negative: carried to the next invoice.
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("invoice_id", Uuid),
    Column("payment_id", Uuid),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("ix_balance_entries_account", "account_id", "at"),
    info={"append_only": True},
)
