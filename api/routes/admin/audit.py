"""The audit trail, for operators: of one account, or of all [P8]."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer, OneWord
from api.calls import account_named
from api.date_range import MaybeMoment, bounds
from api.dependencies import AdminCall
from api.routes.base import new_router
from billing.platform.audit import store
from billing.platform.audit.tables import billing_audit

router = new_router("audit")


class AuditEntry(Answer):
    """One change: who did it, what, to what, and when, in the account's time and in real time."""

    id: int = Field(description="As `audit_id`")
    audit_id: int = Field(validation_alias="id")
    account_id: AccountId | None
    actor: str = Field(description="Who did it")
    action: str = Field(description="What was done, such as `matter.resume_ordered`")
    subject: str = Field(description="What it was done to, by its id")
    detail: dict[str, Any] = Field(description="The facts of the change")
    correlation_id: str | None
    at: datetime = Field(description="When, in the account's time")
    real_at: datetime


@router.get(
    "/admin/accounts/{account_id}/audit",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"),
)
async def list_account_audit(
    account_id: str,
    call: AdminCall,
    paging: Paging,
    action: OneWord = None,
    subject: OneWord = None,
) -> Page[AuditEntry]:
    """The audit trail of an account, newest first [P8]."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        query = store.listing(account.id, action=action, subject=subject)
        return await paginate(connection, query, (billing_audit.c.id,), paging, AuditEntry.of)


@router.get("/admin/audit", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_audit(
    call: AdminCall,
    paging: Paging,
    account_id: OneWord = None,
    actor: OneWord = None,
    action: OneWord = None,
    subject: OneWord = None,
    start_date: MaybeMoment = None,
    end_date: MaybeMoment = None,
) -> Page[AuditEntry]:
    """The audit trail of all accounts and of what belongs to none, such as the catalog, newest
    first. Dates are in real time; days are in UTC unless an account is named.
    """
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id) if account_id else None
        start, end = bounds(start_date, end_date, account.zone if account else "UTC")
        query = store.listing(
            account.id if account else None,
            actor=actor, action=action, subject=subject, start=start, end=end,
        )  # fmt: skip
        return await paginate(connection, query, (billing_audit.c.id,), paging, AuditEntry.of)
