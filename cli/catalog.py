"""Changes the catalog from a file, in one operator transaction.

A fresh database is filled from the project's own catalog.yaml; afterwards only the commands, or
an operator, change it, so that a restart never undoes an operator's edit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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
Work = Callable[[AsyncConnection, CatalogSpec], Awaitable[Changes]]


def fill_when_empty() -> None:
    """Apply catalog.yaml to an empty catalog. Errors: StackError."""
    _run(_fill, read(loader.DEFAULT_FILE))


def read(file: Path) -> CatalogSpec:
    """Return the catalog of a file. Errors: StackError that names the mistake."""
    try:
        return loader.read(file)
    except loader.CatalogError as error:
        raise StackError(str(error)) from error


def compare(wanted: CatalogSpec) -> Changes:
    """Return the changes that `apply` would make."""
    return _run(_diff, wanted)


def apply(wanted: CatalogSpec, shown: Changes) -> Changes:
    """Make the catalog equal to `wanted`; return the changes.

    Errors: StackError if they differ from `shown`, because the catalog was changed since.
    """
    return _run(partial(_apply, shown=shown), wanted)


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


async def _fill(connection: AsyncConnection, wanted: CatalogSpec) -> Changes:
    if not await store.is_empty(connection):
        return []
    return await service.apply(connection, wanted, await entitlements.sold(connection))


async def _diff(connection: AsyncConnection, wanted: CatalogSpec) -> Changes:
    return await service.diff(connection, wanted, await entitlements.sold(connection))


async def _apply(connection: AsyncConnection, wanted: CatalogSpec, *, shown: Changes) -> Changes:
    done = await service.apply(connection, wanted, await entitlements.sold(connection))
    if weighing.identity(done) != weighing.identity(shown):
        raise StackError(
            "the catalog was changed in the meantime: nothing was applied; compare it again"
        )
    return done


def _run(work: Work, wanted: CatalogSpec) -> Changes:
    return asyncio.run(_in_transaction(work, wanted))


async def _in_transaction(work: Work, wanted: CatalogSpec) -> Changes:
    async with open_database(Settings()) as database, database.operator() as connection:
        return await work(connection, wanted)
