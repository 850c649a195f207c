"""Tries to move money for an invoice, and the stored methods they use (metadata only).

A payment is one flow (one PaymentIntent, or one manual submission); an attempt is one confirm.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata

payment_methods = Table(
    "payment_methods",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("kind", Text, nullable=False, server_default="card"),
    Column("provider", Text, nullable=False, server_default="stripe"),
    Column("stripe_payment_method_id", Text, nullable=False, unique=True),
    Column("brand", Text),
    Column("last4", Text),
    Column("exp_month", Integer),
    Column("exp_year", Integer),
    Column("fingerprint", Text),
    Column("country", Text),
    # What its owner calls it.
    Column("label", Text),
    Column("is_default", Boolean, nullable=False, server_default="false"),
    # removing: gone for its owner, still to be detached at the provider.
    Column("status", Text, nullable=False, server_default="active"),
    # Set by do_not_try_again: no attempt until the card is replaced.
    Column("barred_at", DateTime(timezone=True)),
    # When it became the one to use; a date after the last attempt earns an extra try.
    Column("chosen_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("removed_at", DateTime(timezone=True)),
    CheckConstraint("kind IN ('card', 'bank_transfer', 'other')", name="kind_known"),
    CheckConstraint("status IN ('active', 'removing', 'detached')", name="status_known"),
    CheckConstraint("status = 'active' OR NOT is_default", name="default_is_active"),
    Index("ix_payment_methods_account", "account_id", "created_at", "id"),
    Index(
        "uq_payment_methods_default",
        "account_id",
        unique=True,
        postgresql_where=text("is_default AND status = 'active'"),
    ),
)

setup_intents = Table(
    "setup_intents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("stripe_setup_intent_id", Text, unique=True),
    Column("client_secret", Text),
    # pending until the provider has it, then as the provider says; refused and expired end it.
    Column("status", Text, nullable=False),
    Column("make_default", Boolean, nullable=False),
    # What it came to.
    Column("payment_method_id", Uuid, ForeignKey("payment_methods.id")),
    # How often the provider was asked because no webhook came.
    Column("checks", Integer, nullable=False, server_default="0"),
    # When its owner said that it is done, so that the provider is asked at once.
    Column("asked_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint(
        "status IN ('pending', 'waiting', 'action', 'processing', 'failed', 'succeeded',"
        " 'canceled', 'refused', 'expired')",
        name="status_known",
    ),
    Index("ix_setup_intents_account", "account_id", "created_at"),
    Index(
        "ix_setup_intents_unfinished",
        "account_id",
        "created_at",
        postgresql_where=text("finished_at IS NULL"),
    ),
)

payments = Table(
    "payments",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False),
    Column("workflow_id", Text, nullable=False),
    # card, saved_card, checkout or manual.
    Column("flow", Text, nullable=False),
    Column("intent_key", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("received_minor", BigInteger, nullable=False, server_default="0"),
    Column("currency", Text, nullable=False),
    Column("payment_method_id", Uuid, ForeignKey("payment_methods.id")),
    Column("stripe_payment_intent_id", Text, unique=True),
    Column("stripe_checkout_session_id", Text, unique=True),
    Column("stripe_charge_id", Text),
    Column("client_secret", Text),
    Column("redirect_url", Text),
    Column("failure_code", Text),
    Column("failure_message", Text),
    Column("failure_class", Text),
    # When the payer last asked to confirm it in the browser.
    Column("offered_at", DateTime(timezone=True)),
    Column("manual_method", Text),
    Column("transaction_reference", Text),
    Column("submitted_by", Text),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    Column("decision_reason", Text),
    # How often the provider was asked because no webhook came.
    Column("checks", Integer, nullable=False, server_default="0"),
    Column("last_check_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("paid_at", DateTime(timezone=True)),
    # When its money was booked on the invoice; null while the owner of the matter has it to do.
    Column("settled_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint(
        "status IN ('pending', 'pending_approval', 'processing', 'succeeded', 'completed',"
        " 'failed', 'refunded', 'canceled')",
        name="status_known",
    ),
    # One collector per invoice (docs/rules.md#payments). A manual payment still `pending` waits
    # until the card's intent has been called back, and collects nothing before.
    Index(
        "uq_payments_one_collector",
        "invoice_id",
        unique=True,
        postgresql_where=text(
            "status IN ('pending', 'pending_approval', 'processing')"
            " AND NOT (flow = 'manual' AND status = 'pending')"
        ),
    ),
    Index(
        "uq_payments_one_submission",
        "invoice_id",
        unique=True,
        postgresql_where=text("flow = 'manual' AND status IN ('pending', 'pending_approval')"),
    ),
    Index("ix_payments_account_created", "account_id", "created_at", "id"),
    Index("ix_payments_invoice", "invoice_id", "created_at"),
    Index(
        "uq_payments_reference",
        "account_id",
        "transaction_reference",
        unique=True,
        postgresql_where=text(
            "transaction_reference IS NOT NULL AND status NOT IN ('failed', 'canceled')"
        ),
    ),
)

payment_attempts = Table(
    "payment_attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("payment_id", Uuid, ForeignKey("payments.id")),
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False),
    Column("key", Text, nullable=False, unique=True),
    # The dunning slot, or null for a new card's or a retry-now's extra try.
    Column("slot", Integer),
    Column("payment_method_id", Uuid, ForeignKey("payment_methods.id")),
    # pending while undecided; then succeeded, declined, action, processing, unreached, skipped.
    Column("status", Text, nullable=False),
    Column("decline_code", Text),
    Column("decline_class", Text),
    Column("message", Text),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("real_started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Index("ix_payment_attempts_invoice", "invoice_id", "started_at"),
    Index(
        "uq_payment_attempts_undecided",
        "invoice_id",
        unique=True,
        postgresql_where=text("status = 'pending'"),
    ),
)
