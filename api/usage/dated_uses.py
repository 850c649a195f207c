"""Uses that a customer dates back, checked and recorded under the account's lock.

An end, a pause or a change credits time under the same lock. If it came between the check and the
record, the allowance of that time would be used for free. The plan's allowance goes first under
every method, so this holds for what a hold or a card would pay, too.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.batching.held_uses import HOLDS_AT_ONCE
from api.batching.usage_batcher import record_last
from api.calls import AccountCall, Call
from api.usage import use_times
from billing.core.errors import Invalid
from billing.ledger.credits import service as credits
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use
from billing.metering.usage.sql_batch import Outcomes

Write = Callable[[AsyncConnection, Sequence[Use]], Awaitable[Outcomes]]


def are_among(call: Call, uses: Sequence[Use]) -> bool:
    """Return True if the account's own caller dated one."""
    return not call.caller.operates and any(use.at is not None for use in uses)


async def record(call: AccountCall, uses: Sequence[Use]) -> dict[int, Recorded]:
    """Record the account's uses, those paid by holds last; return the outcomes by place."""
    held = [place for place, use in enumerate(uses) if use.hold_id is not None]
    return await record_last(uses, held, partial(_record, call, _together), partial(_held, call))


async def check(connection: AsyncConnection, call: Call, use: Use) -> None:
    """Refuse a use that its customer may not date so far back, as things are until the commit.

    Locks the account of a dated one. Errors: EVENT_TOO_OLD.
    """
    if not isinstance(call, AccountCall) or not are_among(call, [use]):
        return
    await credits.lock(connection, call.account.id)
    for reason in (await use_times.too_old_here(connection, call, [use])).values():
        raise Invalid(use_times.TOO_OLD, reason)


async def _held(call: AccountCall, uses: Sequence[Use]) -> dict[int, Recorded]:
    found: dict[int, Recorded] = {}
    for start in range(0, len(uses), HOLDS_AT_ONCE):
        part = await _record(call, _by_holds, uses[start : start + HOLDS_AT_ONCE])
        found |= {start + place: one for place, one in part.items()}
    return found


async def _record(call: AccountCall, write: Write, uses: Sequence[Use]) -> dict[int, Recorded]:
    if not uses:
        return {}
    async with call.transaction() as connection:
        await credits.lock(connection, call.account.id)
        refused = await use_times.too_old_here(connection, call, uses)
        places = [place for place in range(len(uses)) if place not in refused]
        done = Outcomes({})
        if places:
            done = await write(connection, [uses[place] for place in places])
    call.services.wake(done.asking)
    found = {place: Recorded(use_times.TOO_OLD, UUID(int=0)) for place in refused}
    return found | {places[number]: one for number, one in done.answers.items()}


async def _together(connection: AsyncConnection, uses: Sequence[Use]) -> Outcomes:
    return await sql_batch.record(connection, uses, [1] * len(uses))


async def _by_holds(connection: AsyncConnection, uses: Sequence[Use]) -> Outcomes:
    return Outcomes(await sql_batch.record_on_holds(connection, uses))
