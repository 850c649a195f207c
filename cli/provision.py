"""Makes a fresh database usable: migrations, then the catalog. Repeatable, run on each start.

Runs as a process of its own (`python -m cli.provision`) with the stack's settings.
With `--wait` it loads everything first and begins when a line comes in.
"""

import sys

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from cli import catalog
from cli.errors import StackError
from cli.project import ROOT
from migrations.draft import load_tables


def migrate(revision: str = "head") -> list[str]:
    """Run the migrations up to `revision` as DATABASE_OWNER_URL.

    Rights of the programs' roles that somebody took away are given again, and walls of tables put
    up again; answers them in words. Errors: StackError where there is no such migration.
    """
    config = _config()
    _refuse_unknown(config, revision)
    command.upgrade(config, revision)
    return list(config.attributes.get("restored", ()))


def newest() -> str:
    """The migration that this release needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _refuse_unknown(config: Config, revision: str) -> None:
    try:
        ScriptDirectory.from_config(config).get_revisions(revision)
    except CommandError as error:
        raise StackError(f"there is no migration {revision}: head is the newest") from error


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    return config


def provision() -> None:
    """Everything between an empty database and a first request."""
    migrate()
    catalog.fill_when_empty()


if __name__ == "__main__":
    load_tables()
    if "--wait" in sys.argv and not sys.stdin.readline():
        sys.exit("nobody is left to provision for")
    try:
        provision()
    except StackError as error:
        sys.exit(str(error))
