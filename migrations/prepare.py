"""The part of a migration that prepares large tables before it, without locking others out.

Each statement of `versions/<revision>_large/prepare.sql` is its own transaction and does nothing
when its work is done, so a killed run can be repeated. The functions that its checks call come
first.
"""

import re
import time
from collections.abc import Callable
from typing import Final

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from billing.core.database_errors import origin_of
from migrations.draft import VERSIONS

LOCK_TIMEOUT_MS: Final = 2_000
"""All who come after the one that waits for a table wait too. An index is excepted: nobody waits
behind it while it waits for older transactions, and given up it would be built from the first row.
"""
TRIES: Final = 60
PAUSE_SECONDS: Final = 1.0
ARE_KEPT: Final = (LockNotAvailable, DeadlockDetected)
_REVISION: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_INDEX: Final = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+)")
_IS_INVALID: Final = text(
    "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"
)
_END: Final = re.compile(r";\n(?=\n|\Z)")


def prepare(connection: Connection, following: dict[str, str]) -> None:
    """Run the next migration's prepare.sql; `following` maps each migration to its successor.

    The connection commits each statement. A database without tables has nothing to prepare.
    """
    if not connection.scalar(_REVISION):
        return
    at = connection.scalar(text("SELECT version_num FROM alembic_version"))
    revision = following.get(at or "")
    path = VERSIONS / f"{revision}_large" / "prepare.sql"
    if not path.exists():
        return
    checking = VERSIONS / f"{revision}" / "checking.sql"
    before = checking.read_text() if checking.exists() else ""
    for statement in filter(str.strip, _END.split(before + path.read_text())):
        _until_done(connection, statement)


def until_free(work: Callable[[], None]) -> None:
    """Do the work, again if others keep a table that it locks: they go first."""
    for left in reversed(range(TRIES)):
        try:
            work()
            return
        except (DBAPIError, *ARE_KEPT) as error:
            if not left or not isinstance(origin_of(error), ARE_KEPT):
                raise
            time.sleep(PAUSE_SECONDS)


def _until_done(connection: Connection, statement: str) -> None:
    patience = 0 if _INDEX.search(statement) else LOCK_TIMEOUT_MS
    connection.execute(text(f"SET lock_timeout = {patience}"))

    def execute() -> None:
        _drop_invalid(connection, statement)
        # Not by SQLAlchemy: the statement may include percent signs.
        connection.connection.cursor().execute(statement)

    until_free(execute)


def _drop_invalid(connection: Connection, statement: str) -> None:
    """Drop the invalid index that a killed run left: it would block a new one."""
    found = _INDEX.search(statement)
    if found and connection.scalar(_IS_INVALID, {"name": found[1]}):
        connection.connection.cursor().execute(f"DROP INDEX CONCURRENTLY {found[1]}")
