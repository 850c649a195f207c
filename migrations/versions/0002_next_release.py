"""The release in the making: what it adds to the schema, so far nothing.

`python -m migrations.draft` writes the text beside it anew until it is released.
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what the release before does not have."""
    for name in ("tables.sql", "functions.sql", "rules.sql"):
        path = Path(__file__).with_name(revision) / name
        # Past SQLAlchemy's text(): function bodies hold colons and percent signs of their own.
        if path.exists():
            op.get_bind().connection.cursor().execute(path.read_text())


def downgrade() -> None:
    """The release before runs on this schema as it is."""
    raise NotImplementedError("go on with the release before: it needs no way back")
