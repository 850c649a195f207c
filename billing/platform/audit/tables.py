"""The audit log: actor, action and object, written in the transaction of the change itself."""

from sqlalchemy import BigInteger, Identity, LargeBinary

from billing.core import columns as c

billing_audit = c.table(
    "billing_audit",
    c.column("id", BigInteger, Identity(always=True), primary_key=True),
    c.account(nullable=True),
    c.text("actor"),
    c.text("action"),
    c.text("subject"),
    c.json("detail"),
    c.text("correlation_id", nullable=True),
    c.instant("at"),
    c.instant("real_at"),
    # The preceding entry and a digest of both; null in entries written by the previous release.
    c.bigint("previous_id", nullable=True),
    c.column("digest", LargeBinary, nullable=True),
    c.index("ix_billing_audit_account", "account_id", "id"),
    c.index("ix_billing_audit_account_at", "account_id", "at"),
    c.index("ix_billing_audit_subject", "subject", "id"),
    # For operators who search the trails of all accounts.
    c.index("ix_billing_audit_actor", "actor", "id"),
    c.index("ix_billing_audit_action", "action", "id"),
    c.index(
        "ix_billing_audit_real",
        "real_at",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    ),
    info={"append_only": True},
)
