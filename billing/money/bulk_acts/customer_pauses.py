"""Pauses the recovery of all that one customer owes, and of all that comes to be owed meanwhile.

A dry run does exactly the same in a transaction that its caller rolls back.
"""

from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids
from billing.core.errors import Unavailable
from billing.matters.schemas import Matter
from billing.money.dunning import cases as dunning
from billing.money.dunning import store
from billing.money.dunning.schemas import CustomerPause, DunningCase
from billing.money.invoice_requests import asking, locks
from billing.platform.audit import service as audit


async def pause(connection: AsyncConnection, account_id: UUID, *, reason: str) -> list[Matter]:
    """Pause every open case, and those that open until the resumption; return the matters to
    notify. Paused again, it pauses what was resumed by itself. Errors: UNAVAILABLE.
    """
    cases = await _locked(connection, account_id)
    at = await clock.now(connection, account_id)
    running = [one for one in cases if one.status == "open"]
    if await store.customer_pause(connection, account_id) is None:
        standing = CustomerPause(account_id=account_id, reason=reason, paused_at=at)
        await store.begin_customer_pause(connection, standing)
    await _audit(connection, account_id, "account.dunning_paused", reason)
    verb = partial(dunning.pause, reason=reason, with_all=True)
    return await asking.ask_all(connection, [one.invoice_id for one in running], lambda _: verb)


async def resume(connection: AsyncConnection, account_id: UUID, *, reason: str) -> list[Matter]:
    """End the pause and resume the cases that it has paused, but none that was paused by itself;
    return the matters to notify. Errors: UNAVAILABLE.
    """
    cases = await _locked(connection, account_id)
    if await store.customer_pause(connection, account_id) is None:
        return []
    await store.end_customer_pause(connection, account_id)
    await _audit(connection, account_id, "account.dunning_resumed", reason)
    paused = [one for one in cases if one.is_paused_with_all]
    verb = partial(dunning.resume, reason=reason)
    return await asking.ask_all(connection, [one.invoice_id for one in paused], lambda _: verb)


async def _locked(connection: AsyncConnection, account_id: UUID) -> list[DunningCase]:
    """Lock the collectors of the account's open cases and the account, so that no case opens
    without the pause; return the cases. Errors: UNAVAILABLE where one opened before the locks.
    """
    known = await store.open_of(connection, account_id)
    await locks.take_collectors(connection, account_id, [one.invoice_id for one in known])
    found = await store.open_of(connection, account_id)
    if {one.id for one in found} - {one.id for one in known}:
        raise Unavailable("UNAVAILABLE", "a recovery has just begun; send the request again")
    return found


async def _audit(connection: AsyncConnection, account_id: UUID, action: str, reason: str) -> None:
    await audit.record(
        connection, account_id=account_id, action=action,
        subject=ids.encode(ids.ACCOUNT, account_id), at=await clock.now(connection, account_id),
        reason=reason,
    )  # fmt: skip
