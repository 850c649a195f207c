"""Resumes all halted matters, and tries what reached no card, now instead of within the hour."""

import asyncio
from typing import Final

from temporalio.client import Client

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


async def resume(settings: Settings) -> str:
    """Resume halted matters, then try what reached no card; return a sentence.

    Errors: RPCError if Temporal is unavailable.
    """
    async with open_database(settings) as database:
        client = await connect(settings)
        count, left = await resume_all(database, client)
        tried = await try_unreached(database, client)
    return f"{tried} charges that had reached no card are tried now; {words_of(count, left)}"


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


async def resume_all(database: Database, client: Client) -> tuple[int, list[str]]:
    """Resume halted matters; stop after a page without any answer.

    Return how many were resumed, and the workflows for which no worker answered.
    """
    async with database.operator() as connection:
        waiting = await sweeps.halted(connection)
    resumed, left = 0, list[str]()
    for first in range(0, len(waiting), AT_ONCE):
        page = waiting[first : first + AT_ONCE]
        answers = await asyncio.gather(*(_answer(database, client, matter) for matter in page))
        resumed += answers.count(True)
        left += [
            one.workflow_id for one, answer in zip(page, answers, strict=True) if answer is None
        ]
        if answers.count(None) == len(page):
            return resumed, left + [one.workflow_id for one in waiting[first + len(page) :]]
    return resumed, left


def words_of(resumed: int, left: list[str]) -> str:
    """Return a sentence with the first few names; `GET /admin/matters?status=halted` has all."""
    told = f"{resumed} halted matters were resumed"
    if not left:
        return told
    more = len(left) - NAMED
    names = ", ".join(left[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{told}; no worker answered for {len(left)}, which try again within the hour: {names}"


async def _answer(database: Database, client: Client, matter: Matter) -> bool | None:
    """Resume a matter. True: it was resumed; None: no worker answered."""
    try:
        resumed = await start.resume(client, matter)
    except Unavailable:
        return None
    if resumed:
        async with database.tenant(matter.account_id) as connection:
            await audit.record(
                connection, account_id=matter.account_id, action="matter.resume_ordered",
                subject=matter.workflow_id, at=await clock.now(connection, matter.account_id),
            )  # fmt: skip
    return resumed
