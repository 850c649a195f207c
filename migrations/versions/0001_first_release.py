"""The first release: every table, the SQL functions, and the rules around them.

Roles come before (devstack/roles.sql): the owner runs this, app and operator get their rights.
Frozen: it reads nothing but the text beside it (migrations/releases.toml).
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables, functions, then row-level security and append-only triggers."""
    for name in ("tables.sql", "functions.sql", "rules.sql"):
        text = (Path(__file__).with_name(revision) / name).read_text()
        # Past SQLAlchemy's text(): function bodies hold colons and percent signs of their own.
        op.get_bind().connection.cursor().execute(text)


def downgrade() -> None:
    """There is nothing before the first release."""
    raise NotImplementedError("drop the database instead")
