"""The first release: every table, the SQL functions of the ledger, and the rules around them.

Roles come before (embedded/roles.sql): the owner runs this, app and operator get their rights.
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_HERE = Path(__file__).parent.parent


def upgrade() -> None:
    """Tables, functions, then row-level security and append-only triggers."""
    _run(_HERE / "sql" / "0001_tables.sql")
    for path in sorted((_HERE / "functions").glob("*.sql")):
        _run(path)
    _run(_HERE / "sql" / "0001_rules.sql")


def downgrade() -> None:
    """There is nothing before the first release."""
    raise NotImplementedError("drop the database instead")


def _run(path: Path) -> None:
    # Past SQLAlchemy's text(): function bodies hold colons and percent signs of their own.
    op.get_bind().connection.cursor().execute(path.read_text())
