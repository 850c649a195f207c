"""An account's standing with the tax office is changed: for drafts from now on [L5].

Each verb takes the account's lock: an invoice is drafted under it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.ledger.credits import service as credits
from billing.money.taxation import store
from billing.money.taxation.schemas import TaxProfile
from billing.platform.audit import service as audit


async def exempt(
    connection: AsyncConnection, account_id: UUID, because: str | None, at: datetime
) -> TaxProfile:
    """Free an account from taxes, with the reason on record; None: it pays them again."""
    await credits.lock(connection, account_id)
    before = await store.profile(connection, account_id)
    if before.exempt_because == because:
        return before
    found = await store.put(connection, account_id, exempt_because=because, updated_at=at)
    await _audit(connection, account_id, "exempted" if because else "taxed", at, reason=because)
    return found


async def _audit(
    connection: AsyncConnection, account_id: UUID, what: str, at: datetime, **detail: Any
) -> None:
    await audit.record(
        connection,
        account_id=account_id,
        action=f"account.{what}",
        subject=ids.encode(ids.ACCOUNT, account_id),
        at=at,
        **detail,
    )
