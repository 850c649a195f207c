"""Rollover of plan credits: a part of a cycle's credits is a lot that lasts into the next one.

That part is fixed when the credits arrive, and the other part burns first, because it ends first.
So the ledger alone shows what is left at any instant, however late a cycle's end is processed.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.ledger.credits import rules, service, sql_calls
from billing.ledger.credits.results import answered
from billing.ledger.credits.schemas import Kept


async def grant(
    connection: AsyncConnection,
    *,
    kept: Kept | None = None,
    **lot: Any,
) -> None:
    """Grant credits as `service.grant` does; the part `kept` lasts beyond their cycle.

    That part is a lot of its own, which has the key; the rest is granted before it, under a key
    derived from it. Credits that rolled over before last beyond that cycle as far as the part
    leaves room. A call with a key that was granted before changes nothing, whatever it keeps.
    """
    if kept is None:
        await service.grant(connection, **lot)
        return
    wanted = {"scope": None, "priority": rules.DEFAULT_PRIORITY, **lot}
    wanted |= {"amount": rules.grantable(lot["amount"]), "detail": {"rollover_cap": str(kept.cap)}}
    await answered(
        connection, sql_calls.GRANT_KEPT, kept=rules.grantable(kept.amount),
        cycle_start=kept.cycle_start, cycle_end=kept.cycle_end, until=kept.until, **wanted,
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
    begins: bool,
    at: datetime,
) -> None:
    """Adapt a subject's kept credits to its cycle, whose end they have as `before`, and which now
    goes from `start` to `end`. `until`: the end of the current cycle's kept credits; None: no
    cycle can follow.

    If a cycle `begins`, those of the one before roll over into it, up to their cap, and may last
    once more. Errors: NOT_FOUND.
    """
    await answered(
        connection, sql_calls.ROLL_OVER, account_id=account_id, subject=subject, before=before,
        start=start, end=end, until=until, begins=begins, at=at,
    )  # fmt: skip
    await service.watch_returned(connection, account_id, at)
