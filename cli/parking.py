"""Parks billing in the database, before any process is started on it."""

import asyncio
from typing import Final

from api.requests.dry_runs import undone_if
from billing.core.clock import real_now
from billing.core.database import open_database
from billing.core.settings import Settings
from billing.money.invoices import skipped
from billing.platform.parking import service, store
from cli import resuming
from cli.errors import StackError
from workflows.client import connect

PAUSES: Final = (2 * service.REMEMBERED_SECONDS, 3.0)
"""Until every process knows it, and until a step that was refused at the last has been halted."""


async def park(settings: Settings, reason: str) -> str:
    """Park billing; return a sentence that says since when."""
    async with open_database(settings) as database, database.operator() as connection:
        parking = await service.park(connection, reason)
    return (
        f"parked since {parking.parked_at:%Y-%m-%d %H:%M:%S} UTC ({parking.reason});"
        f" a step that runs already ends within half a minute"
    )


async def skip_numbers(settings: Settings, number: str, reason: str, *, dry_run: bool) -> str:
    """Continue after a number that was issued after the backup. Errors: StackError."""
    try:
        async with (
            open_database(settings) as database,
            undone_if(dry_run, database.operator()) as connection,
        ):
            if await store.current(connection) is None:
                raise StackError("billing is not parked: run billing park --reason … first")
            count = await skipped.skip(connection, number, reason, real_now())
    except ValueError as refused:
        raise StackError(str(refused)) from refused
    if not count:
        return "none is skipped: the series is beyond it"
    return f"{count} numbers {'would be' if dry_run else 'are'} skipped"


async def unpark(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Unpark billing and resume halted matters; return a sentence, and a line for each call of
    Temporal that failed at last.
    """
    count, done = 0, resuming.Resumed()
    async with open_database(settings) as database:
        async with database.operator() as connection:
            parking = await service.unpark(connection)
        client = await connect(settings)
        for pause in PAUSES:
            await asyncio.sleep(pause)
            done = await resuming.resume_all(database, client)
            count += done.number
    begun = "money may move again" if parking is not None else "was not parked"
    return f"{begun}; {done._replace(number=count).words}", done.failed
