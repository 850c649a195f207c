"""Makes a fresh database usable: migrations, then the catalog. Repeatable, run on each start.

Runs as a process of its own (`python -m cli.provision`) with the stack's settings.
With `--wait` it loads everything first and begins when it reads a line.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from billing.core.database_errors import lacks_right, origin_of
from billing.core.settings import load_settings
from cli import catalog
from cli.errors import StackError
from cli.project import ROOT
from migrations.draft import load_tables
from migrations.prepare import ARE_KEPT
from migrations.repairs import NEEDS_OWNER, Repair


class Migrated(NamedTuple):
    """The result of a migration."""

    lines: list[str]
    is_whole: bool = True
    """False if a right, a role or a wall is still not as the migrations made it."""


def migrate(revision: str = "head") -> Migrated:
    """Run the migrations up to `revision` as DATABASE_OWNER_URL.

    Restore missing rights of the programs' roles and missing walls of tables. Return a line for
    each, then the database's revision. A newer database is left unchanged: this release works on
    it. Errors: StackError if there is no such migration, others keep a table locked, or the role
    does not own the tables.
    """
    config = _config()
    _refuse_unknown(config, revision)
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        at = error.__cause__.argument
        return Migrated([f"the database is at {at}, newer than this release: left as it is"])
    except (psycopg.Error, DBAPIError) as error:
        if (refusal := _refusal(error)) is None:
            raise
        raise StackError(refusal) from error
    repairs: Sequence[Repair] = config.attributes.get("repairs", ())
    at = config.attributes.get("revision", revision)
    return Migrated(
        [*(one.words for one in repairs), f"database is at {at}"],
        all(one.is_done for one in repairs),
    )


def _refusal(error: psycopg.Error | DBAPIError) -> str | None:
    """Return the sentence for the operator; None if the error has none."""
    if isinstance(origin_of(error), ARE_KEPT):
        return "others keep a table locked: see billing locks list, then run billing migrate again"
    return NEEDS_OWNER if lacks_right(error) else None


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
    """Prepare a database for the first request, and log each repair. What is not repaired ends
    nothing: customers are served, and `billing doctor` names it.
    """
    for line in migrate().lines:
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
