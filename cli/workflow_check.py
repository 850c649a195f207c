"""Compares Postgres with Temporal: matters without a workflow, and workflows without a matter.

It reads page by page, because there may be millions.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from billing.core.database import Database
from billing.insight.integrity import rules, store
from billing.insight.integrity.schemas import Finding
from workflows import visibility

SECOND_LOOK_SECONDS: Final = 2.0
"""A workflow that is just starting or ending looks wrong for a moment."""
PAGE: Final = 1_000
Among = Callable[[AsyncConnection, Sequence[str]], Awaitable[set[str]]]
"""Returns which of these workflows should run, by their rows."""


async def compare_workflows(database: Database, client: Client) -> list[Finding]:
    """Compare open matters with running workflows; check each difference twice.

    Errors: RPCError if Temporal is unavailable.
    """
    missing, stray = await _missing(database, client), await _stray(database, client)
    if missing or stray:
        await asyncio.sleep(SECOND_LOOK_SECONDS)
    must_run = _again(database, client, missing, store.must_run_among)
    may_run = _again(database, client, stray, store.may_run_among)
    return rules.workflows(
        [name async for running, wanted in must_run for name in wanted - running],
        [name async for running, wanted in may_run for name in running - wanted],
    )


async def _missing(database: Database, client: Client) -> list[str]:
    """Return matters whose workflow should run but does not."""
    missing: list[str] = []
    page = [""]
    while page:
        async with database.operator() as connection:
            page = await store.must_run(connection, page[-1], PAGE)
        running = await visibility.running_among(client, page)
        missing += [name for name in page if name not in running]
    return missing


async def _stray(database: Database, client: Client) -> list[str]:
    """Return workflows that run without an open matter."""
    stray: list[str] = []
    async for page in visibility.running_matters(client):
        async with database.operator() as connection:
            wanted = await store.may_run_among(connection, page)
        stray += [name for name in page if name not in wanted]
    return stray


async def _again(
    database: Database, client: Client, names: Sequence[str], among: Among
) -> AsyncIterator[tuple[set[str], set[str]]]:
    """Yield, page by page, which of these workflows run and which should."""
    for first in range(0, len(names), PAGE):
        part = names[first : first + PAGE]
        running = await visibility.running_among(client, part)
        async with database.operator() as connection:
            yield running, await among(connection, part)
