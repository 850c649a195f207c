"""Changes what is sold, by file, in one operator transaction.

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
    """Sell what catalog.yaml says, if nothing was ever sold. Errors: StackError."""
    _run(_fill, read(loader.DEFAULT_FILE))


def read(file: Path) -> CatalogSpec:
    """The catalog of a file. Errors: StackError naming what is wrong in it."""
    try:
        return loader.read(file)
    except loader.CatalogError as error:
        raise StackError(str(error)) from error


def compare(wanted: CatalogSpec) -> Changes:
    """The changes that `apply` would make."""
    return _run(_diff, wanted)


def apply(wanted: CatalogSpec, shown: Changes) -> Changes:
    """Sell exactly what is wanted; answers what was changed.

    Errors: StackError where that is not what was shown, for somebody changed the catalog since.
    """
    return _run(partial(_apply, shown=shown), wanted)


def words(changes: Changes) -> list[str]:
    """The changes for people, and the subscriptions and money that they are about."""
    return [*(one.words for one in changes), *weighing.touched(changes)]


def demand_small(changes: Changes) -> None:
    """Errors: StackError where something goes away, or a price changes by more than half."""
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
    database = open_database(Settings())
    try:
        async with database.operator() as connection:
            return await work(connection, wanted)
    finally:
        await database.close()
