"""Plan credits that outlive their cycle: a part of them is a lot that lives on into the next one.

That part is fixed when the credits arrive, and the other one burns first, for it ends first: so at
each instant the ledger alone says what is left, however late a cycle's end is looked at.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import keys
from billing.ledger.credits import service, sql_calls
from billing.ledger.credits.results import is_refused, refusal


async def grant(
    connection: AsyncConnection,
    *,
    kept: Decimal = Decimal(0),
    kept_until: datetime | None = None,
    **lot: Any,
) -> None:
    """`service.grant`; of these credits so many, as `kept` says, live on after their end.

    They are a lot of their own, which has the key; the others come under a key made of it. A call
    with a key that was granted before changes nothing, whatever it keeps.
    """
    if not kept:
        await service.grant(connection, **lot)
        return
    own = lot | {"amount": kept, "expires_at": kept_until, "reason": f"{lot['reason']}, kept on"}
    granted = await service.grant(connection, **own)
    if granted.replayed:
        return
    named = {"account_id": lot["account_id"], "at": lot.get("at")}
    await _call(
        connection, sql_calls.KEEP, **named, grant_key=lot["key"], kept_from=lot["expires_at"]
    )
    rest = lot["amount"] - kept
    if rest:
        other = lot | {"amount": rest, "key": keys.not_kept(lot["key"])}
        await service.grant(connection, **other)


async def roll_over(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    start: datetime,
    end: datetime,
    until: datetime,
    begins: bool,
    cap: Decimal,
    room: Decimal,
    at: datetime,
) -> None:
    """Kept credits follow the cycle from `start` to `end`: its own live on until `until`.

    Where the cycle `begins` those of the one before roll over into it, up to the `cap`; beside its
    own there is `room` for so many to live on once more. Errors: NOT_FOUND.
    """
    await _call(
        connection, sql_calls.ROLL_OVER, account_id=account_id, start=start, end=end, until=until,
        begins=begins, cap=cap, room=room, at=at,
    )  # fmt: skip
    await service.watch_returned(connection, account_id, at)


async def _call(connection: AsyncConnection, call: Any, **values: Any) -> None:
    row = await call.one(connection, **values)
    if is_refused(row):
        raise refusal(row)
