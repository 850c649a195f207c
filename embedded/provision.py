"""Makes a fresh database usable: migrations, then the catalog. Repeatable, run on each start.

Runs as a process of its own (`python -m embedded.provision`) with the stack's settings.
"""

from alembic import command
from alembic.config import Config

from embedded.options import ROOT


def migrate(revision: str = "head") -> None:
    """Run the migrations up to `revision` as DATABASE_OWNER_URL."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    command.upgrade(config, revision)


def provision() -> None:
    """Everything between an empty database and a first request."""
    migrate()


if __name__ == "__main__":
    provision()
