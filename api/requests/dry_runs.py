"""Dry runs of what is more than one decision: done in a transaction of which nothing stays."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection


class _Undone(Exception):
    """Ends the transaction, so that it is rolled back."""


@asynccontextmanager
async def undone(
    transaction: AbstractAsyncContextManager[AsyncConnection],
) -> AsyncIterator[AsyncConnection]:
    """The transaction, rolled back at its end."""
    try:
        async with transaction as connection:
            yield connection
            raise _Undone
    except _Undone:
        return


def undone_if(
    dry_run: bool,
    transaction: AbstractAsyncContextManager[AsyncConnection],
) -> AbstractAsyncContextManager[AsyncConnection]:
    """The transaction as it is, or rolled back at its end where it is a dry run."""
    return undone(transaction) if dry_run else transaction
