"""Parks billing in the database, before any process is started on it."""

import asyncio
from typing import Final

from temporalio.client import Client

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.errors import Unavailable
from billing.core.settings import Settings
from billing.matters import sweeps
from billing.matters.schemas import Matter
from billing.money.invoices import skipped
from billing.platform.parking import service, store
from cli.errors import StackError
from workflows import start
from workflows.client import connect

PAUSES: Final = (2 * service.REMEMBERED_SECONDS, 3.0)
"""Until every process knows it, and until a step that was refused at the last has been halted."""

AT_ONCE: Final = 20
"""A matter for which no worker answers takes seconds; the others do not wait for it."""
NAMED: Final = 5


async def park(settings: Settings, reason: str) -> str:
    """Park billing; return a sentence that says since when."""
    database = open_database(settings)
    try:
        async with database.operator() as connection:
            parking = await service.park(connection, reason)
    finally:
        await database.close()
    return (
        f"parked since {parking.parked_at:%Y-%m-%d %H:%M:%S} UTC ({parking.reason});"
        f" a step that runs already ends within half a minute"
    )


async def skip_numbers(settings: Settings, number: str, reason: str) -> str:
    """Continue after a number that was issued after the backup. Errors: StackError."""
    database = open_database(settings)
    try:
        async with database.operator() as connection:
            if await store.current(connection) is None:
                raise StackError("billing is not parked: run billing park --reason … first")
            count = await skipped.skip(connection, number, reason, real_now())
    except ValueError as refused:
        raise StackError(str(refused)) from refused
    finally:
        await database.close()
    return f"{count} numbers are skipped" if count else "none is skipped: the series is beyond it"


async def unpark(settings: Settings) -> str:
    """Unpark billing and resume halted matters. Errors: RPCError if Temporal is unavailable."""
    database = open_database(settings)
    resumed, left = 0, list[str]()
    try:
        async with database.operator() as connection:
            parking = await service.unpark(connection)
        client = await connect(settings)
        for pause in PAUSES:
            await asyncio.sleep(pause)
            count, left = await _resume(database, client)
            resumed += count
    finally:
        await database.close()
    begun = "money may move again" if parking is not None else "was not parked"
    return f"{begun}; {resumed} halted matters were resumed{_words_of(left)}"


async def _resume(database: Database, client: Client) -> tuple[int, list[str]]:
    """Resume halted matters now instead of within the hour.

    Return how many were resumed, and the workflows for which no worker answered. Stop after a page
    without any answer.
    """
    async with database.operator() as connection:
        waiting = await sweeps.halted(connection)
    resumed, left = 0, list[str]()
    for first in range(0, len(waiting), AT_ONCE):
        page = waiting[first : first + AT_ONCE]
        answers = await asyncio.gather(*(_answer(client, matter) for matter in page))
        resumed += answers.count(True)
        left += [
            one.workflow_id for one, answer in zip(page, answers, strict=True) if answer is None
        ]
        if answers.count(None) == len(page):
            return resumed, left + [one.workflow_id for one in waiting[first + len(page) :]]
    return resumed, left


async def _answer(client: Client, matter: Matter) -> bool | None:
    """Resume a matter. True: it was resumed; None: no worker answered."""
    try:
        return await start.resume(client, matter)
    except Unavailable:
        return None


def _words_of(left: list[str]) -> str:
    """Return the first few names; `GET /admin/matters?status=halted` has all."""
    if not left:
        return ""
    more = len(left) - NAMED
    names = ", ".join(left[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"; no worker answered for {len(left)}, which try again within the hour: {names}"
