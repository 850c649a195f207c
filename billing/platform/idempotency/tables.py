"""The first answer of each request with an idempotency key, kept for 24 hours [P9, P10]."""

from sqlalchemy import LargeBinary, SmallInteger

from billing.core import columns as c

billing_idempotency = c.table(
    "billing_idempotency",
    # The account's id, or `*` for calls that belong to no account.
    c.text("scope", primary_key=True),
    c.text("route", primary_key=True),
    c.text("key", primary_key=True),
    c.account(nullable=True),
    c.text("request_hash"),
    # The id of what the request creates; a takeover after a crash continues with it.
    c.uuid("resource_id"),
    c.uuid("lease"),
    c.instant("lease_until"),
    c.instant("created_at"),
    c.instant("expires_at"),
    c.column("status", SmallInteger, nullable=True),
    c.text("media_type", nullable=True),
    c.column("body", LargeBinary, nullable=True),
    c.check("(status IS NULL) = (body IS NULL)", name="answer_whole"),
    c.check("scope = coalesce(account_id::text, '*')", name="scope"),
    c.index("ix_billing_idempotency_expires", "expires_at"),
)
