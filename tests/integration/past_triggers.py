"""Statements that the triggers refuse: what nobody should do, done as a superuser can do it."""

from typing import Any

import psycopg

from devstack.stack import StackInfo, dsn


async def past_triggers(stack: StackInfo, statement: str, **values: Any) -> None:
    """Run a statement without them; values as `%(name)s`."""
    async with await psycopg.AsyncConnection.connect(dsn(stack.superuser_url)) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode(), values)
