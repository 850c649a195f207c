"""Requests to the tax provider, where one is set, for the rates of a newly written address."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import Call
from api.workflow_calls import wait_until_done
from billing.core import ids
from billing.matters.schemas import Matter
from billing.money.taxation import service as taxation


async def want_rates(
    call: Call, connection: AsyncConnection, account_id: UUID, at: datetime
) -> Matter | None:
    """Note that the provider must be asked. Call it last, because it locks the account's matter."""
    if call.settings.tax_provider == "catalog":
        return None
    return await taxation.ask(connection, account_id, at)


async def until_asked(call: Call, asking: Matter | None) -> None:
    """Wait up to ten seconds for the provider's answer, so that the next invoice has its rates."""
    if asking is not None:
        await wait_until_done(call, asking, f"{ids.encode(ids.ACCOUNT, asking.account_id)}/tax-")
