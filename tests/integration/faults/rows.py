"""The product's own connections to a stack's database, for what the product says of itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from billing.core.database import Database, open_database
from billing.core.settings import Settings
from devstack.stack import StackInfo


@asynccontextmanager
async def open_operator(stack: StackInfo) -> AsyncIterator[Database]:
    """Both pools of a stack's database, closed at the end."""
    settings = Settings.model_validate(
        {"database_url": stack.app_url, "database_operator_url": stack.operator_url}
    )
    database = open_database(settings)
    try:
        yield database
    finally:
        await database.close()
