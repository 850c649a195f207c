"""Plan credits that outlive their cycle: a part of them is a lot that lives on into the next one.

That part is fixed when the credits arrive, and the other one burns first, for it ends first: so at
each instant the ledger alone says what is left, however late a cycle's end is looked at.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.ledger.credits import rules, service, sql_calls
from billing.ledger.credits.results import is_refused, refusal
from billing.ledger.credits.schemas import Kept


async def grant(
    connection: AsyncConnection,
    *,
    kept: Kept | None = None,
    **lot: Any,
) -> None:
    """`service.grant`; of these credits so many, as `kept` says, live on after their end.

    They are a lot of their own, which has the key; the others come before it, under a key made of
    it. A call with a key that was granted before changes nothing, whatever it keeps.
    """
    if kept is None:
        await service.grant(connection, **lot)
        return
    wanted = {"scope": None, "priority": rules.PRIORITY[lot["kind"]], **lot}
    wanted |= {"amount": rules.grantable(lot["amount"]), "detail": {"rollover_cap": str(kept.cap)}}
    await _call(
        connection, sql_calls.GRANT_KEPT, kept=rules.grantable(kept.amount),
        cycle_end=kept.cycle_end, until=kept.until, **wanted,
    )  # fmt: skip
    await service.watch_returned(connection, lot["account_id"], lot["at"])


async def roll_over(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    subject: str,
    before: datetime,
    start: datetime,
    end: datetime,
    until: datetime | None,
    room: Decimal | None,
    at: datetime,
) -> None:
    """Kept credits of a subject follow its cycle, which ended at `before` as far as they know, and
    goes from `start` to `end` now: its own live on `until` then; None: never again.

    Where the cycle begins those of the one before roll over into it, up to their cap; beside its
    own there is `room` for so many to live on once more. Without a `room` none begins. Errors:
    NOT_FOUND.
    """
    await _call(
        connection, sql_calls.ROLL_OVER, account_id=account_id, subject=subject, before=before,
        start=start, end=end, until=until, room=room, at=at,
    )  # fmt: skip
    await service.watch_returned(connection, account_id, at)


async def _call(connection: AsyncConnection, call: Any, **values: Any) -> None:
    row = await call.one(connection, **values)
    if is_refused(row):
        raise refusal(row)
