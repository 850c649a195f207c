"""Dry runs of more than one decision: done in a transaction that is rolled back."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection


class _Undone(Exception):
    """Ends the transaction, so that it is rolled back."""


@asynccontextmanager
async def undone(
    transaction: AbstractAsyncContextManager[AsyncConnection],
) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that is rolled back at its end."""
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
    """Open a transaction that is rolled back at its end if this is a dry run."""
    return undone(transaction) if dry_run else transaction
