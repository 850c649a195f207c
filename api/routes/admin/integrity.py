"""Integrity checks, for operators: every invariant, of one account or of all, page by page."""

from datetime import datetime
from typing import Annotated

from fastapi import Query

from api.answers.problems import responses
from api.answers.schemas import Answer
from api.dependencies import AdminCall
from api.routes.base import new_router
from billing.insight.integrity import service
from billing.insight.integrity.schemas import Finding

router = new_router("integrity")


class IntegrityAnswer(Answer):
    """`ok` when no check failed."""

    ok: bool
    as_of: datetime
    checks: list[Finding]


@router.get("/admin/integrity", responses=responses("MERCHANT_NOT_FOUND"))
async def check_integrity(
    call: AdminCall,
    account: Annotated[
        str | None, Query(max_length=255, description="Only this account, by id or external id.")
    ] = None,
) -> IntegrityAnswer:
    """Evaluate every invariant. Without an account it reads everything: call it rarely."""
    account_id = (await call.find_account(account)).id if account is not None else None
    return IntegrityAnswer.of(await service.examine(call.database, account_id))
