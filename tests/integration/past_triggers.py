"""Statements that the triggers refuse: what nobody should do, done as a superuser can do it."""

from typing import Any

import psycopg

from devstack.stack import StackInfo


async def past_triggers(stack: StackInfo, statement: str, **values: Any) -> None:
    """Run a statement without them; values as `%(name)s`."""
    url = stack.superuser_url.replace("postgresql+psycopg://", "postgresql://")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode(), values)
