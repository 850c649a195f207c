"""Uses that are already recorded: sent again, each gets its first answer, whatever has changed."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import Call
from api.user_scope import event_key
from billing.metering.usage import months


async def sent_again(
    connection: AsyncConnection, call: Call, events: Mapping[int, tuple[UUID, str | None]]
) -> set[int]:
    """Return the places of events, each an account and its event id, that have a record."""
    keys = {
        place: UUID(hex=event_key(account_id, event_id, call))
        for place, (account_id, event_id) in events.items()
        if event_id is not None
    }
    known = await months.existing(connection, keys.values()) if keys else set()
    return {place for place, key in keys.items() if key in known}
