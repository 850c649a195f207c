"""Quotas on meters per account, organisation or user, and uses they were asked for beforehand.

A quota's row carries what its window has used; only the SQL functions quota_* and usage_* move it.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
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
from sqlalchemy.dialects.postgresql import ARRAY

from billing.core.database import metadata

AMOUNT = Numeric(27, 12)

billing_quotas = Table(
    "billing_quotas",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # '' the account, 'u:…' one of its users, 'o:…' an organisation.
    Column("owner", Text, nullable=False),
    Column("meter", Text, nullable=False),
    # 'day', 'month', 'cycle' or 'rolling'; a rolling one looks back over `span_seconds`.
    Column("window_kind", Text, nullable=False),
    Column("span_seconds", Integer),
    Column("limit_amount", AMOUNT, nullable=False),
    Column("is_hard", Boolean, nullable=False),
    Column("alert_percents", ARRAY(Integer), nullable=False),
    # The window that was last counted, what it used, and what the one before it used.
    Column("window_start", DateTime(timezone=True), nullable=False),
    Column("used", AMOUNT, nullable=False, server_default="0"),
    Column("used_before", AMOUNT, nullable=False, server_default="0"),
    # A claim before this instant that leaves `used` below that amount needs no second look: until
    # then no window ends, no claim expires and neither the plan nor another quota has a word; below
    # it nothing is told.
    Column("plain_until", DateTime(timezone=True)),
    Column("plain_below", AMOUNT),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Unique("account_id", "meter", "owner", "window_kind"),
    # What a claim changes; the rest is looked at where it is written (quota_set): each constraint
    # is compiled anew for every statement that changes the row.
    CheckConstraint("used >= 0", name="used_not_negative"),
    postgresql_with={"fillfactor": 50},
)

# No foreign key: it would cost each claim a look-up, and only a function that has just locked the
# account writes here.
quota_claims = Table(
    "quota_claims",
    metadata,
    # The id that the record of this event will have.
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("user_id", Text),
    Column("organization_id", Text),
    Column("meter", Text, nullable=False),
    Column("amount", AMOUNT, nullable=False),
    Column("claimed_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    # 'open', 'settled' by its record, or 'expired'.
    Column("status", Text, nullable=False),
    Index(
        "ix_quota_claims_open",
        "account_id",
        "expires_at",
        postgresql_where=text("status = 'open'"),
    ),
)
