"""Changes what is sold, by file, in one operator transaction.

A fresh database is filled from the project's own catalog.yaml; afterwards only the commands, or
an operator, change it, so that a restart never undoes an operator's edit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import loader, service, store
from billing.catalog.plans.changes import Change
from billing.catalog.plans.spec import CatalogSpec
from billing.core.database import open_database
from billing.core.settings import Settings
from billing.money.subscriptions import entitlements
from devstack.errors import StackError

Work = Callable[[AsyncConnection, CatalogSpec], Awaitable[Sequence[Change]]]


def fill_when_empty() -> None:
    """Sell what catalog.yaml says, if nothing was ever sold. Errors: StackError."""
    _run(_fill, loader.DEFAULT_FILE)


def compare(file: Path) -> Sequence[Change]:
    """The changes that `apply` would make. Errors: StackError naming what is wrong in the file."""
    return _run(_diff, file)


def apply(file: Path) -> Sequence[Change]:
    """Sell exactly what the file says; answers what was changed. Errors: as `compare`."""
    return _run(_apply, file)


async def _fill(connection: AsyncConnection, wanted: CatalogSpec) -> Sequence[Change]:
    return await _apply(connection, wanted) if await store.is_empty(connection) else []


async def _diff(connection: AsyncConnection, wanted: CatalogSpec) -> Sequence[Change]:
    return await service.diff(connection, wanted, await entitlements.sold(connection))


async def _apply(connection: AsyncConnection, wanted: CatalogSpec) -> Sequence[Change]:
    return await service.apply(connection, wanted, await entitlements.sold(connection))


def _run(work: Work, file: Path) -> Sequence[Change]:
    try:
        wanted = loader.read(file)
    except loader.CatalogError as error:
        raise StackError(str(error)) from error
    return asyncio.run(_in_transaction(work, wanted))


async def _in_transaction(work: Work, wanted: CatalogSpec) -> Sequence[Change]:
    database = open_database(Settings())
    try:
        async with database.operator() as connection:
            return await work(connection, wanted)
    finally:
        await database.close()
