"""Makes a fresh database usable: migrations, then the catalog. Repeatable, run on each start.

Runs as a process of its own (`python -m cli.provision`) with the stack's settings.
With `--wait` it loads everything first and begins when it reads a line.
"""

import asyncio
import sys

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from billing.core.database_errors import origin_of
from billing.core.settings import load_settings
from cli import catalog
from cli.errors import StackError
from cli.project import ROOT
from migrations.draft import load_tables
from migrations.prepare import ARE_KEPT


def migrate(revision: str = "head") -> list[str]:
    """Run the migrations up to `revision` as DATABASE_OWNER_URL.

    Restore missing rights of the programs' roles and missing walls of tables. Return a line for
    each, then the database's revision. A newer database is left unchanged: this release works on
    it. Errors: StackError if there is no such migration, or others keep a table locked.
    """
    config = _config()
    _refuse_unknown(config, revision)
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        at = error.__cause__.argument
        return [f"the database is at {at}, newer than this release: left as it is"]
    except (psycopg.Error, DBAPIError) as error:
        if not isinstance(origin_of(error), ARE_KEPT):
            raise
        raise StackError(
            "others keep a table locked: see billing locks list, then run billing migrate again"
        ) from error
    told = config.attributes
    return [*told.get("restored", ()), f"database is at {told.get('revision', revision)}"]


def known() -> tuple[str, ...]:
    """Return the migrations of this release; it needs the last one."""
    script = ScriptDirectory.from_config(_config())
    return tuple(reversed([one.revision for one in script.walk_revisions()]))


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
    """Prepare an empty database for the first request, and log each repair."""
    for line in migrate():
        sys.stdout.write(f"{line}\n")
    asyncio.run(catalog.fill_when_empty())


if __name__ == "__main__":
    load_tables()
    if "--wait" in sys.argv and not sys.stdin.readline():
        sys.exit("the parent process is gone: nothing was provisioned")
    load_settings()  # a process that may not start ends here, a line for each wrong setting
    try:
        provision()
    except StackError as error:
        sys.exit(str(error))
