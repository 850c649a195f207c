"""Changes the catalog from a file, in one operator transaction.

A fresh database is filled from the project's own catalog.yaml; afterwards only the commands, or
an operator, change it, so that a restart never undoes an operator's edit.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import loader, service, store, weighing
from billing.catalog.plans.changes import Change
from billing.catalog.plans.spec import CatalogSpec
from billing.core.database import open_database
from billing.core.settings import Settings
from billing.money.subscriptions import entitlements
from cli.errors import StackError

Changes = Sequence[Change]


async def fill_when_empty() -> None:
    """Apply catalog.yaml to an empty catalog. Errors: StackError."""
    wanted = read(loader.DEFAULT_FILE)
    async with _operator() as connection:
        if await store.is_empty(connection):
            await service.apply(connection, wanted, await entitlements.sold(connection))


def read(file: Path) -> CatalogSpec:
    """Return the catalog of a file. Errors: StackError that names the mistake."""
    try:
        return loader.read(file)
    except loader.CatalogError as error:
        raise StackError(str(error)) from error


async def compare(wanted: CatalogSpec) -> Changes:
    """Return the changes that `apply` would make."""
    async with _operator() as connection:
        return await service.diff(connection, wanted, await entitlements.sold(connection))


async def apply(wanted: CatalogSpec, shown: Changes) -> None:
    """Make the catalog equal to `wanted`.

    Errors: StackError if that changes other things than `shown`: the catalog was changed since.
    """
    async with _operator() as connection:
        done = await service.apply(connection, wanted, await entitlements.sold(connection))
        if weighing.identity(done) != weighing.identity(shown):
            raise StackError(
                "the catalog was changed in the meantime: nothing was applied; compare it again"
            )


def words(changes: Changes) -> list[str]:
    """Return the changes as text, with the subscriptions and money that they affect."""
    return [*(one.words for one in changes), *weighing.touched(changes)]


def demand_small(changes: Changes) -> None:
    """Raise StackError if something is removed, or a price changes by more than half."""
    large = weighing.asked_by_name(changes)
    if large:
        raise StackError(
            "nothing was applied: these would be removed or change by more than half; to confirm,"
            " use --allow-large-change\n" + "\n".join(large)
        )


@asynccontextmanager
async def _operator() -> AsyncIterator[AsyncConnection]:
    async with open_database(Settings()) as database, database.operator() as connection:
        yield connection
