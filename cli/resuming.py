"""Resumes all halted matters, and tries what reached no card, now instead of within the hour."""

import asyncio
from typing import Final, NamedTuple

from temporalio.client import Client
from temporalio.service import RPCError

from activities import notifying
from billing.core import clock
from billing.core.database import Database, open_database
from billing.core.errors import Unavailable
from billing.core.settings import Settings
from billing.matters import sweeps
from billing.matters.schemas import Matter
from billing.money.invoice_requests import unreached
from billing.money.invoice_requests.unreached import Waiting
from billing.platform.audit import service as audit
from workflows import start
from workflows.client import connect

AT_ONCE: Final = 20
"""A matter for which no worker answers takes seconds; the others do not wait for it."""
NAMED: Final = 5
AGAIN: Final = "which try again within the hour"


class Resumed(NamedTuple):
    """The result of an order to resume all halted matters."""

    number: int = 0
    left: tuple[str, ...] = ()
    """The workflows for which no worker answered."""
    failed: tuple[str, ...] = ()
    """A line for each workflow for which Temporal refused the call, or did not answer it."""

    @property
    def words(self) -> str:
        """A sentence with the first few names; `GET /admin/matters?status=halted` has all."""
        told = f"{self.number} halted matters were resumed"
        if self.failed:
            told += f"; Temporal took no call for {len(self.failed)}, {AGAIN}"
        if not self.left:
            return told
        more = len(self.left) - NAMED
        names = ", ".join(self.left[:NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{told}; no worker answered for {len(self.left)}, {AGAIN}: {names}"


async def resume(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Resume halted matters, then try what reached no card; return a sentence, and a line for each
    call that failed.
    """
    async with open_database(settings) as database:
        client = await connect(settings)
        resumed = await resume_all(database, client)
        tried = await try_unreached(database, client)
    told = f"{tried} charges that had reached no card are tried now; {resumed.words}"
    return told, resumed.failed


async def try_unreached(database: Database, client: Client) -> int:
    """Make the charges due that reached no card and wait for their hour; return their number."""
    async with database.operator() as connection:
        waiting = await unreached.waiting(connection)
    due = 0
    for first in range(0, len(waiting), AT_ONCE):
        page = waiting[first : first + AT_ONCE]
        due += sum(await asyncio.gather(*(_try(database, client, one) for one in page)))
    return due


async def _try(database: Database, client: Client, waiting: Waiting) -> int:
    """Make the charges of one matter due. What Temporal does not take, the sweeper wakes."""
    try:
        async with database.tenant(waiting.account_id) as connection:
            matters, due = await unreached.try_now(connection, waiting)
    except Unavailable:  # it changes at this moment, and goes on by itself
        return 0
    await notifying.nudge(client, matters)
    return due


async def resume_all(database: Database, client: Client) -> Resumed:
    """Resume halted matters; stop after a page without any answer, and count the rest as left."""
    async with database.operator() as connection:
        waiting = await sweeps.halted(connection)
    done = Resumed()
    for first in range(0, len(waiting), AT_ONCE):
        page = waiting[first : first + AT_ONCE]
        answers = await asyncio.gather(*(_answer(database, client, matter) for matter in page))
        left = [one.workflow_id for one, said in zip(page, answers, strict=True) if said is None]
        failed = [said for said in answers if isinstance(said, str)]
        is_silent = len(left) + len(failed) == len(page)
        if is_silent:
            left += [one.workflow_id for one in waiting[first + len(page) :]]
        number = done.number + answers.count(True)
        done = Resumed(number, (*done.left, *left), (*done.failed, *failed))
        if is_silent:
            break
    return done


async def _answer(database: Database, client: Client, matter: Matter) -> bool | str | None:
    """Resume a matter. True: it was resumed; None: no worker answered; a text: the call failed."""
    try:
        resumed = await start.resume(client, matter)
    except Unavailable:
        return None
    except RPCError as error:
        return f"{matter.workflow_id}: {error.status.name}: {error.message}"
    if resumed:
        async with database.tenant(matter.account_id) as connection:
            await audit.record(
                connection, account_id=matter.account_id, action="matter.resume_ordered",
                subject=matter.workflow_id, at=await clock.now(connection, matter.account_id),
            )  # fmt: skip
    return resumed
