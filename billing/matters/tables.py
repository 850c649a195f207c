"""The register of matters, and the steps that were done."""

from billing.core import columns as c

matters = c.table(
    "matters",
    c.text("workflow_id", primary_key=True),
    c.account(),
    c.text("kind"),
    c.uuid("subject_id"),
    # open, resting (nothing is due for long: no workflow runs), halted, closed.
    c.text("status", server_default="open"),
    c.text("words", server_default=""),
    c.integer("revision", server_default="0"),
    c.instant("next_due", nullable=True),
    c.text("next_step", nullable=True),
    c.text("next_key", nullable=True),
    c.text("correlation_id", nullable=True),
    c.instant("created_at"),
    # In real time: when somebody last said "look again", and when a worker did (null until then).
    c.instant("woken_at"),
    c.instant("started_at", nullable=True),
    c.instant("closed_at", nullable=True),
    c.index("ix_matters_account_due", "account_id", "next_due"),
    c.index("ix_matters_account_open", "account_id", "workflow_id", where="closed_at IS NULL"),
    # This index and that of overdue matters leave out resting ones: each account has one.
    c.index(
        "ix_matters_left_behind",
        "woken_at",
        where="started_at IS NULL AND closed_at IS NULL AND status = 'open'",
    ),
    c.index("ix_matters_overdue", "next_due", where="closed_at IS NULL AND status = 'open'"),
    c.index("ix_matters_resting", "next_due", where="closed_at IS NULL AND status = 'resting'"),
    c.index("ix_matters_created", "created_at", "workflow_id"),
    c.index("ix_matters_kind", "kind", "created_at", "workflow_id"),
    c.index(
        "ix_matters_kind_open",
        "kind",
        "created_at",
        "workflow_id",
        where="closed_at IS NULL",
    ),
    c.index("ix_matters_halted", "woken_at", where="status = 'halted'"),
    c.index("ix_matters_halted_workflow", "workflow_id", where="status = 'halted'"),
    c.index("ix_matters_open", "workflow_id", where="closed_at IS NULL AND status <> 'resting'"),
)
steps = c.table(
    "steps",
    c.text("key", primary_key=True),
    c.text("workflow_id"),
    c.account(),
    c.text("name"),
    c.instant("due_at"),
    c.instant("ran_at"),
    c.instant("real_ran_at"),
    c.text("result", server_default=""),
    # The provider's event that the step handled.
    c.text("event_id", nullable=True),
    c.index("ix_steps_account", "account_id", "ran_at"),
    c.index("ix_steps_workflow", "workflow_id", "ran_at"),
    c.index(
        "ix_steps_real",
        "real_ran_at",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    ),
)
