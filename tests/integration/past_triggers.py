"""Statements that the triggers refuse: what nobody should do, done as a superuser can do it."""

from typing import Any

from devstack.stack import StackInfo
from tests.integration.locked import other_session


async def past_triggers(stack: StackInfo, statement: str, **values: Any) -> None:
    """Run a statement without them; values as `%(name)s`."""
    async with other_session(stack) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode(), values)
