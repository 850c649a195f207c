"""Work that programs of the previous release leave undone, beside this one or after a step back."""

from functools import partial
from typing import Final
from uuid import UUID

from activities.paged_scan import drain, drain_along, each_apart
from activities.polling import EVENTS_KEPT
from billing.core.clock import agreed_now
from billing.core.database import Database
from billing.money.account_agenda import store as agenda
from billing.money.payments import event_owners

PAGE: Final = 500


async def make_up(database: Database) -> dict[str, int]:
    """Watch the dates that the previous release does not know; have the reversals that it ignored
    booked.
    """
    async with database.operator() as connection:
        now = await agreed_now(connection)
    return await each_apart(
        {
            "forgotten_watched": lambda: drain_along(
                database, partial(agenda.watch_forgotten, at=now, limit=PAGE), after=UUID(int=0)
            ),
            "reversals_taken_up": lambda: drain(
                database, partial(event_owners.take_up, since=now - EVENTS_KEPT, at=now, limit=PAGE)
            ),
        }
    )
