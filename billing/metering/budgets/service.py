"""Set, read and remove budgets, each in the caller's transaction."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids
from billing.core.errors import Conflict, NotFound
from billing.ledger.credits import service as credits
from billing.metering.budgets import rules, store
from billing.metering.budgets.schemas import Budget, NewBudget
from billing.metering.usage import store as usage_store
from billing.platform.audit import service as audit


async def put(connection: AsyncConnection, account_id: UUID, wanted: NewBudget) -> Budget:
    """Set a budget; it counts the window's earlier use, and notifies of thresholds already reached.

    Updates the one of the same measure, meter, window and `then`. Errors: BUDGET_LIMIT.
    """
    at = await credits.now_locked(connection, account_id)
    period = await usage_store.current_period(connection, account_id, at)
    budget_id = await store.put(connection, account_id, wanted, at)
    if await store.count(connection, account_id) > rules.MAX_BUDGETS:
        raise Conflict("BUDGET_LIMIT", f"an account has at most {rules.MAX_BUDGETS} budgets")
    await store.mark(connection, account_id)
    await store.notify(connection, account_id, period.zone, period.start_at, at)
    found = await store.standing(connection, account_id, period, at, budget_id)
    await _note(connection, found[0], "budget.set", at)
    return found[0]


async def remove(connection: AsyncConnection, account_id: UUID, budget_id: UUID) -> Budget:
    """Remove a budget; return it as it was. Errors: BUDGET_NOT_FOUND."""
    await credits.lock(connection, account_id)
    gone, at = await get(connection, account_id, budget_id)
    await store.remove(connection, account_id, budget_id)
    await store.mark(connection, account_id)
    await _note(connection, gone, "budget.removed", at)
    return gone


async def get(
    connection: AsyncConnection, account_id: UUID, budget_id: UUID
) -> tuple[Budget, datetime]:
    """Return one budget and the account's current time. Errors: BUDGET_NOT_FOUND."""
    found, at = await standing(connection, account_id, budget_id)
    if not found:
        raise NotFound("BUDGET_NOT_FOUND")
    return found[0], at


async def standing(
    connection: AsyncConnection, account_id: UUID, budget_id: UUID | None = None
) -> tuple[list[Budget], datetime]:
    """Return the budgets with their current use, newest first, and the account's current time."""
    at = await clock.now(connection, account_id)
    period = await usage_store.current_period(connection, account_id, at)
    return await store.standing(connection, account_id, period, at, budget_id), at


async def blocking(connection: AsyncConnection, account_id: UUID) -> list[Budget]:
    """Return the budgets that may refuse a use, with their current use."""
    if not await store.may_block(connection, account_id):
        return []
    found, _ = await standing(connection, account_id)
    return [budget for budget in found if budget.is_blocking]


async def _note(connection: AsyncConnection, budget: Budget, action: str, at: datetime) -> None:
    await audit.record(
        connection,
        account_id=budget.account_id,
        action=action,
        subject=ids.encode(ids.BUDGET, budget.id),
        at=at,
        measure=budget.measure,
        meter=budget.meter,
        window=budget.window_kind,
        limit=str(budget.limit_amount),
        then="block" if budget.is_blocking else "notify",
    )
