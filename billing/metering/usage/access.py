"""Refusals of use that no plan of the account pays."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock
from billing.core.errors import NotAllowed
from billing.metering.usage import store
from billing.metering.usage.schemas import Period


def demand(period: Period, meter: str) -> None:
    """Refuse use that only a plan would pay if no plan gives access. Errors: NO_ENTITLEMENT."""
    if period.no_entitlement is not None:
        raise NotAllowed("NO_ENTITLEMENT", access="none", reason=period.no_entitlement, meter=meter)


async def demand_for(connection: AsyncConnection, account_id: UUID, meter: str) -> None:
    """As `demand`, now, for a hold on a meter that credits do not pay for."""
    at = await clock.now(connection, account_id)
    period = await store.open_period(connection, account_id, at)
    if period is None or period.no_entitlement is None:
        return
    if await store.only_plans_pay(connection, meter):
        demand(period, meter)
