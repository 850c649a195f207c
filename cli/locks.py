"""Lists and ends Postgres sessions that block others."""

from typing import Final

import psycopg

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.insight.locks import rules, store
from billing.insight.locks.schemas import Blocker
from billing.platform.audit import service as audit
from cli import owner_connection
from cli.errors import StackError

_END: Final = "SELECT pg_terminate_backend(%(pid)s, 5000) AS is_ended"
_CONSOLE: Final = 'psql "$SUPERUSER_URL/billing" --command="SELECT pg_terminate_backend({pid})"'


async def listing(settings: Settings) -> list[str]:
    """Return a line for each session that blocks others, keeps a table locked, or is idle in a
    transaction for long.
    """
    async with open_database(settings) as database:
        found = [rules.words(one) for one in await _blockers(database)]
        async with database.operator() as connection:
            sees_all = await store.sees_all(connection)
    return found + ([] if sees_all else [rules.UNSEEN])


async def end(settings: Settings, pid: int, reason: str) -> str:
    """End a session that blocks others. Errors: StackError for one that blocks nobody."""
    async with open_database(settings) as database:
        found = {one.pid: rules.words(one) for one in await _blockers(database)}
        if pid not in found:
            raise StackError(f"PID {pid} blocks nobody: see billing locks list")
        _end(settings, pid)
        async with database.operator() as connection:
            await audit.record(
                connection, account_id=None, action="session.ended", subject=f"session {pid}",
                at=real_now(), reason=reason, words=found[pid],
            )  # fmt: skip
    return f"ended: {found[pid]}"


async def _blockers(database: Database) -> list[Blocker]:
    async with database.operator() as connection:
        return await store.blockers(connection)


def _end(settings: Settings, pid: int) -> None:
    """End it as the owner: programs that serve customers do not have this right."""
    try:
        with owner_connection.connected(settings) as owner:
            row = owner.execute(_END, {"pid": pid}).fetchone()
    except psycopg.errors.InsufficientPrivilege as refused:
        raise StackError(
            f"the owner may not end it ({refused.diag.message_primary}). As the superuser:"
            f" {_CONSOLE.format(pid=pid)}"
        ) from refused
    if row is None or not row["is_ended"]:
        raise StackError(f"PID {pid} did not end: try again, then check its host")
