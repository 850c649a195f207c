"""The register of matters, and the steps that were done."""

from sqlalchemy import Column, DateTime, ForeignKey, Index, Integer, Table, Text, Uuid, and_

from billing.core.database import metadata

matters = Table(
    "matters",
    metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    # open, resting (nothing is due for long: no workflow runs), halted, closed.
    Column("status", Text, nullable=False, server_default="open"),
    Column("words", Text, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("next_due", DateTime(timezone=True)),
    Column("next_step", Text),
    Column("next_key", Text),
    Column("correlation_id", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # In real time: when somebody last said "look again", and when a worker did (null until then).
    Column("woken_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    Index("ix_matters_account_due", "account_id", "next_due"),
)
Index(
    "ix_matters_left_behind",
    matters.c.woken_at,
    postgresql_where=and_(matters.c.started_at.is_(None), matters.c.closed_at.is_(None)),
)
Index(
    "ix_matters_overdue",
    matters.c.next_due,
    postgresql_where=and_(matters.c.closed_at.is_(None), matters.c.status == "open"),
)
Index(
    "ix_matters_resting",
    matters.c.next_due,
    postgresql_where=and_(matters.c.closed_at.is_(None), matters.c.status == "resting"),
)
Index("ix_matters_open", matters.c.workflow_id, postgresql_where=matters.c.closed_at.is_(None))

steps = Table(
    "steps",
    metadata,
    Column("key", Text, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("ran_at", DateTime(timezone=True), nullable=False),
    Column("real_ran_at", DateTime(timezone=True), nullable=False),
    Column("result", Text, nullable=False, server_default=""),
    # The provider's event that it looked into.
    Column("event_id", Text),
    Index("ix_steps_account", "account_id", "ran_at"),
    Index("ix_steps_workflow", "workflow_id", "ran_at"),
)
