"""Record uses one account after the other, so that none fails or delays the others."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import random
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from billing.core.batcher import SLOW_KEYS
from billing.core.database_errors import is_busy, took_too_long
from billing.metering.usage.schemas import Recorded, Use

Slow = set[UUID]
"""The accounts of a request that took too long. Once two did, the cause is not an account, and
nothing more of the request is tried.
"""
BROKEN: Final = Recorded("INTERNAL", UUID(int=0))
"""Nothing was done: the statement fails because of this account alone."""
BUSY: Final = Recorded("UNAVAILABLE", UUID(int=0))
"""Nothing was done: this account takes too long, or is not to be had now, or two others do."""

_log: Final = logging.getLogger(__name__)


async def each_apart(
    slow: Slow,
    uses: Sequence[Use],
    groups: Iterable[Sequence[int]],
    record: Callable[[Sequence[int]], Awaitable[dict[int, Recorded]]],
) -> dict[int, Recorded]:
    """Record groups of uses, each of one account, one after the other.

    An account for which that fails has only its own uses refused. The accounts come in any order,
    so that repeats reach those behind two that always take too long.
    """
    answers: dict[int, Recorded] = {}
    order = defaultdict[UUID, float](random)
    for places in sorted(groups, key=lambda places: order[uses[places[0]].account_id]):
        account_id, refused = uses[places[0]].account_id, BUSY
        if account_id not in slow and len(slow) < SLOW_KEYS:
            try:
                answers |= await record(places)
                continue
            except DBAPIError as error:
                demand_own(error)
                if took_too_long(error):
                    slow.add(account_id)
                refused = BUSY if is_busy(error) else BROKEN
                _log.exception("uses of a batch failed: account %s", account_id)
        answers |= dict.fromkeys(places, refused)
    return answers


def demand_own(error: DBAPIError) -> None:
    """Raise errors that affect all accounts: the database is unavailable or full."""
    if isinstance(error, (OperationalError, InterfaceError)) and not is_busy(error):
        raise error
