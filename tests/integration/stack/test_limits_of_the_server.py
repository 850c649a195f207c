"""A server's own limits on time, as managed ones have them, do not end an upgrade."""

from typing import Final

import psycopg

from devstack.stack import StackInfo, dsn
from tests.integration.scratch import migrate, scratch_database, url_of

LIMITS: Final = {
    "statement_timeout": "1ms", "transaction_timeout": "50ms", "idle_session_timeout": "20ms",
}  # fmt: skip


def test_a_migration_takes_the_time_that_it_needs(stack: StackInfo) -> None:
    """An index that is given up half made would be built from the first row again, for ever."""
    with scratch_database(stack) as env:
        name = str(psycopg.conninfo.conninfo_to_dict(dsn(env["DATABASE_OWNER_URL"]))["dbname"])
        superuser = dsn(url_of(stack.superuser_url, name))
        with psycopg.connect(superuser, autocommit=True) as server:
            for limit, value in LIMITS.items():
                server.execute(
                    f"ALTER ROLE billing_owner IN DATABASE {name} SET {limit} = '{value}'".encode()
                )
        migrate(env)
