"""Compares usage counters and quotas with their records, for all accounts or one."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from billing.core import ids
from billing.core.database import Database, open_database
from billing.core.database_errors import took_too_long
from billing.core.settings import Settings
from billing.metering.quotas import counter_rebuild as quota_counters
from billing.metering.usage import counter_rebuild
from cli.errors import StackError
from cli.verify import account_named

PAGE: Final = 500
Tell = Callable[[str], None]


async def check(settings: Settings, account: str | None, tell: Tell, *, write: bool) -> int:
    """Return how many counters differ; `write` corrects them.

    `tell` gets a line for each account that has any. Errors: StackError for an unknown account, and
    after all others for those that take too long.
    """
    work = _rebuild if write else _compare
    wrong, late = 0, list[str]()
    async with open_database(settings) as database:
        only = await account_named(database, account)
        page = await _page(database, None) if only is None else [only]
        while page:
            for after in page:
                name = ids.encode(ids.ACCOUNT, after)
                try:
                    found = await work(database, after)
                except DBAPIError as error:
                    if not took_too_long(error):
                        raise
                    late.append(name)
                    continue
                wrong += len(found)
                if found:
                    tell(_words(name, found))
            page = [] if only or len(page) < PAGE else await _page(database, after)
    if late:
        raise StackError(f"{wrong} counters differed; not counted in time: {', '.join(late)}")
    return wrong


async def _compare(database: Database, account_id: UUID) -> list[counter_rebuild.Difference]:
    found = await counter_rebuild.compare(database, account_id)
    return found + await quota_counters.compare(database, account_id)


async def _rebuild(database: Database, account_id: UUID) -> list[counter_rebuild.Difference]:
    """Rebuild quotas last: they are counted from the counters."""
    found = await counter_rebuild.rebuild(database, account_id)
    return found + await quota_counters.rebuild(database, account_id)


async def _page(database: Database, after: UUID | None) -> list[UUID]:
    async with database.operator() as connection:
        return await counter_rebuild.accounts(connection, after, PAGE)


def _words(account: str, found: list[counter_rebuild.Difference]) -> str:
    first = found[0]
    return (
        f"{account}: {len(found)} counters differ, such as {first.meter} by {first.grain} of"
        f" {first.bucket:%Y-%m-%d %H:%M}: {first.kept} kept, {first.true} recorded"
    )
