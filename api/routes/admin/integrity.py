"""Integrity checks, for operators: every invariant, of one account or of all, page by page."""

import asyncio
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import Field

from api.answers.problems import responses
from api.answers.schemas import Answer, OneWord
from api.calls import Call
from api.dependencies import AdminCall
from api.routes.base import new_router
from billing.core.errors import BillingError, Conflict, Unavailable
from billing.insight.integrity import service
from billing.insight.integrity.schemas import Finding
from billing.insight.locks import store as locks

MOST_ACCOUNTS: Final = 2_000
"""Accounts that one request may check: it takes a second for some hundred."""
MOST_USES: Final = 100_000
"""Uses of the account that one request may check: on a busy machine more take longer than an answer
may, and the statement would go on for nobody.
"""
LONGEST_SECONDS: Final = 20.0
"""Time of one request's checks: what they cost depends on all rows of the accounts, and on who else
is served.
"""
router = new_router("integrity")


class IntegrityAnswer(Answer):
    """`ok` when no check failed."""

    ok: bool = Field(description="True if no check failed")
    as_of: datetime
    checks: list[Finding] = Field(description="The outcome of each check")


@router.get(
    "/admin/integrity",
    responses=responses("MERCHANT_NOT_FOUND", "TOO_MANY_ACCOUNTS", "TOO_MANY_USES"),
)
async def check_integrity(
    call: AdminCall,
    account: OneWord = None,
) -> IntegrityAnswer:
    """Evaluate every invariant of an account, by id or external id, or of all if they are few: see
    `billing verify`. 503 if somebody keeps a table locked meanwhile.
    """
    account_id = (await call.find_account(account)).id if account is not None else None
    if account_id is None and await service.count_accounts(call.database) > MOST_ACCOUNTS:
        raise Conflict("TOO_MANY_ACCOUNTS")
    if account_id is not None and await service.count_uses(call.database, account_id) > MOST_USES:
        raise Conflict("TOO_MANY_USES")
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return IntegrityAnswer.of(await service.examine(call.database, account_id))
    except TimeoutError as error:
        raise await _why_too_long(call, account_id) from error


async def _why_too_long(call: Call, account_id: UUID | None) -> BillingError:
    """Return the refusal: checks that waited for a lock may be asked for again."""
    async with call.database.operator() as connection:
        if await locks.bars_readers(connection):
            why = "somebody keeps a table locked: see `billing locks list`, and ask again"
            return Unavailable("UNAVAILABLE", why)
    return Conflict("TOO_MANY_USES" if account_id else "TOO_MANY_ACCOUNTS")
