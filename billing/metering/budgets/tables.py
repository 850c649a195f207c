"""Budgets: how much an account means to use or spend in a month or cycle, and what follows.

What a budget's window has used is read from the counters, so the two never differ.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import ARRAY

from billing.core.database import metadata

AMOUNT = Numeric(27, 12)

budgets = Table(
    "budgets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # 'meter' counts one meter; 'credits' what uses cost in credits; 'money' what uses beyond the
    # plan will cost on the next invoice, in whole units of the account's currency.
    Column("measure", Text, nullable=False),
    # '' unless the measure is a meter.
    Column("meter", Text, nullable=False, server_default=""),
    Column("window_kind", Text, nullable=False),
    Column("limit_amount", AMOUNT, nullable=False),
    Column("alert_percents", ARRAY(Integer), nullable=False),
    Column("is_blocking", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    # One that warns and one that blocks may stand side by side.
    Unique("account_id", "measure", "meter", "window_kind", "is_blocking"),
    CheckConstraint("measure IN ('meter', 'credits', 'money')", name="measure_known"),
    CheckConstraint("(measure = 'meter') = (meter <> '')", name="meter_named"),
    CheckConstraint("window_kind IN ('month', 'cycle')", name="window_known"),
    CheckConstraint("limit_amount >= 0", name="limit_not_negative"),
)
