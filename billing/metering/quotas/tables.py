"""Quotas on meters per account, organisation or user, and claims on them.

A quota's row stores the use of its window; only the SQL functions quota_* and usage_* change it.
"""

from sqlalchemy import Integer, func, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import ARRAY

from billing.core import columns as c

billing_quotas = c.table(
    "billing_quotas",
    c.row_id(),
    c.account(),
    # '' the account, 'u:…' one of its users, 'o:…' an organisation; 'u*' the default of each user:
    # it counts nothing; each user gets a copy when first needed (`is_derived`).
    c.text("owner"),
    c.text("meter"),
    # 'day', 'month', 'cycle' or 'rolling'; a rolling one looks back over `span_seconds`.
    c.text("window_kind"),
    c.integer("span_seconds", nullable=True),
    c.amount("limit_amount"),
    c.flag("is_hard"),
    c.flag("is_derived", server_default="false"),
    c.column("alert_percents", ARRAY(Integer)),
    # The window last counted, and its use; for a rolling one the sum of the slices within its span
    # at that time. Only the previous release uses `used_before`.
    c.instant("window_start"),
    c.amount("used", server_default="0"),
    c.amount("used_before", server_default="0"),
    # A claim before `plain_until` that leaves `used` below `plain_below` may take the fast path:
    # until then no window ends, no claim expires and no other limit applies; below that amount no
    # threshold is crossed.
    c.instant("plain_until", nullable=True),
    c.amount("plain_below", nullable=True),
    c.instant("created_at"),
    c.instant("updated_at"),
    Unique("account_id", "meter", "owner", "window_kind"),
    # Only the column that claims change; quota_set checks the others, because Postgres compiles
    # each constraint again for every statement that changes the row.
    c.check("used >= 0", name="used_not_negative"),
    c.index("ix_billing_quotas_set", "account_id", "meter", where="NOT is_derived"),
    c.index("ix_billing_quotas_created", "created_at", "id", where="NOT is_derived"),
    postgresql_with={"fillfactor": 50},
)

# For rolling quotas: use and claims in each sixtieth of the span, by the time of use.
# No foreign key, as below.
quota_slices = c.table(
    "quota_slices",
    c.uuid("account_id"),
    c.uuid("quota_id", primary_key=True),
    c.instant("ends_at", primary_key=True),
    c.total("used"),
)

# No foreign key: it would cost each claim a look-up, and only a function that holds the account's
# lock writes here.
quota_claims = c.table(
    "quota_claims",
    # The id that the record of this event will have.
    c.row_id(),
    c.uuid("account_id"),
    c.text("event_id"),
    c.text("user_id", nullable=True),
    c.text("organization_id", nullable=True),
    c.text("meter"),
    c.amount("amount"),
    c.instant("claimed_at"),
    c.instant("expires_at"),
    # 'open', 'settled' by its record, or 'expired'.
    c.text("status"),
    # In real time; null: written by the previous release.
    c.instant("written_at", nullable=True, server_default=func.transaction_timestamp()),
    c.index(
        "ix_quota_claims_closed",
        text("coalesce(written_at, claimed_at)"),
        where="status <> 'open'",
    ),
    c.index("ix_quota_claims_open", "account_id", "expires_at", where="status = 'open'"),
)
