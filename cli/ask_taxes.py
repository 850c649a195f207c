"""Queries the tax provider for every account that existed before it was set up."""

from uuid import UUID

from billing.core import clock
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.money.taxation import service, store
from cli.verify import account_named


async def ask_taxes(settings: Settings, *, account: str | None = None) -> int:
    """Record a query for each account, which its workflow sends; return how many.

    Errors: StackError for an unknown account.
    """
    async with open_database(settings) as database:
        return await _ask(database, await account_named(database, account))


async def _ask(database: Database, only: UUID | None) -> int:
    count, after = 0, UUID(int=0)
    while True:
        async with database.operator() as connection:
            page = await store.without_quote(connection, after, only)
        for account_id in page:
            # One transaction per account: none waits for the lock of another account.
            async with database.operator() as connection:
                at = await clock.now(connection, account_id)
                matter = await service.ask(connection, account_id, at)
            count += matter is not None
        if not page:
            return count
        after = page[-1]
