"""Credits corrected by operators: give or take with a reason, and allow an overdraft [F23]."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from fastapi import Response
from pydantic import AfterValidator, Field, model_validator

from api.dependencies import AdminCall, account_named
from api.idempotency import RequiredKey
from api.problems import KEYED, responses
from api.routes.base import new_router
from api.routes.holds import Scope
from api.schemas import Answer, Body, Credits, Instant, Text
from billing.accounts.schemas import Account
from billing.core import clock, ids
from billing.credits import corrections
from billing.credits.schemas import Adjustment

router = new_router("credits")


def _not_nothing(amount: Decimal) -> Decimal:
    if not amount:
        raise ValueError("must not be 0")
    return amount


def _not_below_zero(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("must be 0 or more")
    return amount


class AdjustBody(Body):
    """Credits to give, or to take where the amount is negative.

    Given ones may have an end, and a priority: the lower, the sooner spent (100 unless said).
    """

    account_id: Text
    amount: Annotated[Credits, AfterValidator(_not_nothing)]
    reason: Text
    scope: Scope | None = None
    expires_at: Instant | None = None
    priority: Annotated[int, Field(strict=True, ge=0, le=1_000)] | None = None
    is_paid: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _only_a_gift_ends(self) -> Self:
        gift = self.expires_at is not None or self.priority is not None or self.is_paid
        if self.amount < 0 and gift:
            raise ValueError("expires_at, priority and is_paid are for credits that are given")
        return self


class AdjustAnswer(Answer):
    """What was booked; `debt_paid` went to what the account owed."""

    adjustment_id: str
    account_id: str
    transaction_id: str
    amount: Credits
    debt_paid: Credits
    balance: Credits
    reason: str

    @classmethod
    def of(cls, done: Adjustment) -> Self:
        """The adjustment as operators see it."""
        known = done.model_dump(include={"amount", "debt_paid", "balance", "reason"})
        return cls(
            adjustment_id=ids.encode(ids.ADJUSTMENT, done.adjustment_id),
            account_id=ids.encode(ids.ACCOUNT, done.account_id),
            transaction_id=ids.encode(ids.TRANSACTION, done.transaction_id),
            **known,
        )


class OverdraftBody(Body):
    """How many credits forced charges may leave owed."""

    overdraft: Annotated[Credits, AfterValidator(_not_below_zero)]
    reason: Text


class OverdraftAnswer(Answer):
    """What may be owed, and what is."""

    account_id: str
    overdraft: Credits
    debt: Credits
    as_of: datetime


@router.post(
    "/admin/credits/adjust",
    response_model=AdjustAnswer,
    status_code=201,
    responses=responses(
        "MERCHANT_NOT_FOUND", "INSUFFICIENT_CREDITS", "INVALID_AMOUNT", "INVALID_EXPIRY",
        "IDEMPOTENCY_KEY_REQUIRED", *KEYED,
    ),
)  # fmt: skip
async def adjust_credits(body: AdjustBody, call: AdminCall, once: RequiredKey) -> Response:
    """Give credits or take them away, once per key, with a reason that is kept and told.

    What is taken counts as no use; held credits cannot be taken.
    """
    async with once.claim(call) as claim:
        account = await _account(call, body.account_id)
        async with call.database.tenant(account.id) as connection:
            done = await corrections.adjust(
                connection,
                account_id=account.id,
                adjustment_id=claim.resource_id,
                amount=body.amount,
                reason=body.reason,
                scope=body.scope,
                expires_at=body.expires_at,
                priority=body.priority,
                is_paid=body.is_paid,
                at=await clock.now(connection, account.id),
            )
        return claim.answer(201, AdjustAnswer.of(done))


@router.put("/admin/accounts/{account_id}/overdraft", responses=responses("MERCHANT_NOT_FOUND"))
async def set_overdraft(account_id: str, body: OverdraftBody, call: AdminCall) -> OverdraftAnswer:
    """Let forced charges go this far beyond the balance; what is owed already stays so."""
    account = await _account(call, account_id)
    async with call.database.tenant(account.id) as connection:
        now = await clock.now(connection, account.id)
        before = await corrections.allow_overdraft(
            connection, account.id, body.overdraft, reason=body.reason, at=now
        )
    return OverdraftAnswer(
        account_id=ids.encode(ids.ACCOUNT, account.id),
        overdraft=body.overdraft,
        debt=before.debt,
        as_of=now,
    )


async def _account(call: AdminCall, name: str) -> Account:
    async with call.database.operator() as connection:
        return await account_named(connection, name)
