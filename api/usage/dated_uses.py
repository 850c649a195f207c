"""Uses that a customer dates back, checked and recorded under the account's lock.

An end, a pause or a change credits time under the same lock. If it came between the check and the
record, the allowance of that time would be used for free.
"""

from collections.abc import Sequence
from uuid import UUID

from api.dependencies import AccountCall
from api.usage import use_times
from billing.ledger.credits import service as credits
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import BY_CARD, Recorded, Use
from billing.metering.usage.sql_batch import Outcomes


def are_among(call: AccountCall, uses: Sequence[Use]) -> bool:
    """Return True if the account's own caller dated one, and an allowance may cover it."""
    return not call.caller.operates and any(
        use.at is not None and use.hold_id is None and use.kind.method != BY_CARD for use in uses
    )


async def record(call: AccountCall, uses: Sequence[Use]) -> dict[int, Recorded]:
    """Record the account's uses without holds, in order; return the outcomes by place."""
    async with call.transaction() as connection:
        await credits.lock(connection, call.account.id)
        refused = await use_times.too_old_here(connection, call, uses)
        places = [place for place in range(len(uses)) if place not in refused]
        some = [uses[place] for place in places]
        done = Outcomes({})
        if some:
            done = await sql_batch.record(connection, some, [1] * len(some))
    call.services.wake(done.asking)
    found = {place: Recorded(use_times.TOO_OLD, UUID(int=0)) for place in refused}
    return found | {places[number]: one for number, one in done.answers.items()}
