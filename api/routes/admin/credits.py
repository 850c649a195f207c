"""Corrections of credits by operators: give or take with a reason, allow an overdraft [F23]."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import Response
from pydantic import Field, StrictBool, model_validator

from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId, TransactionId, encoded
from api.answers.schemas import NOT_ZERO, Answer, Body, Credits, Instant, Text
from api.dependencies import AdminCall
from api.idempotency import RequiredKey
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from api.routes.holds import Scope
from billing.core import clock, ids
from billing.ledger.credits import adjustments

router = new_router("credits")


class AdjustBody(Body):
    """Credits to give, or to take when the amount is negative.

    Given credits may have an expiry and a priority: a lower one is spent first (100 by default).
    """

    account_id: Text = Field(description="The account, by our id or your own")
    amount: Annotated[Credits, NOT_ZERO] = Field(
        description="Credits: above 0 gives them, below 0 takes them"
    )
    reason: FreeText = Field(description="For the ledger, the audit trail and the event")
    scope: Scope | None = Field(
        None, description="Only uses of this meter and holds of this scope spend them; null: all do"
    )
    expires_at: Instant | None = Field(
        None, description="When the given credits expire; null: never"
    )
    priority: Annotated[int, Field(strict=True, ge=0, le=1_000)] | None = Field(
        None, description="Lower ones are spent first; 100 by default"
    )
    is_paid: StrictBool = Field(
        False,
        description="True if they count as bought: `wallet_deduction` spends only such credits",
    )

    @model_validator(mode="after")
    def _only_a_gift_ends(self) -> Self:
        gift = self.expires_at is not None or self.priority is not None or self.is_paid
        if self.amount < 0 and gift:
            raise ValueError(
                "expires_at, priority and is_paid are only allowed when credits are given"
            )
        return self


class AdjustAnswer(Answer):
    """The adjustment; `debt_paid` is the part that repaid the account's debt."""

    adjustment_id: Annotated[str, encoded(ids.ADJUSTMENT)]
    account_id: AccountId
    transaction_id: TransactionId
    amount: Credits = Field(description="Credits: above 0 they were given, below 0 taken")
    debt_paid: Credits
    balance: Credits = Field(description="The balance of credits after it")
    reason: str = Field(description="The operator's reason")


class OverdraftBody(Body):
    """The debt in credits that forced charges may leave."""

    overdraft: Annotated[Credits, Field(ge=0)] = Field(
        description="The most that forced charges may leave owed, in credits; 0: nothing"
    )
    reason: FreeText = Field(description="For the audit trail")


class OverdraftAnswer(Answer):
    """The allowed overdraft and the current debt."""

    account_id: str
    overdraft: Credits
    debt: Credits = Field(description="Credits that are owed")
    as_of: datetime = Field(description="When this was so")


@router.post(
    "/admin/credits/adjust",
    response_model=AdjustAnswer,
    status_code=201,
    responses=responses(
        "MERCHANT_NOT_FOUND", "INSUFFICIENT_CREDITS", "BALANCE_TOO_LARGE", "INVALID_AMOUNT",
        "INVALID_EXPIRY", "IDEMPOTENCY_KEY_REQUIRED", *KEYED,
    ),
)  # fmt: skip
async def adjust_credits(body: AdjustBody, call: AdminCall, once: RequiredKey) -> Response:
    """Give or take credits, once per key, with a reason for the audit trail and the event.

    Taken credits do not count as used; held credits cannot be taken.
    """
    account = await call.find_account(body.account_id)
    async with once.claim(call, account.id) as claim:
        async with call.database.tenant(account.id) as connection:
            done = await adjustments.adjust(
                connection,
                account_id=account.id,
                adjustment_id=claim.resource_id,
                at=await clock.now(connection, account.id),
                **{name: value for name, value in body if name != "account_id"},
            )
        return claim.answer(201, AdjustAnswer.of(done))


@router.put(
    "/admin/accounts/{account_id}/overdraft",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_AMOUNT"),
)
async def set_overdraft(account_id: str, body: OverdraftBody, call: AdminCall) -> OverdraftAnswer:
    """Set how far forced charges may exceed the balance; the current debt does not change."""
    account = await call.find_account(account_id)
    async with call.database.tenant(account.id) as connection:
        now = await clock.now(connection, account.id)
        before = await adjustments.allow_overdraft(
            connection, account.id, body.overdraft, reason=body.reason, at=now
        )
    return OverdraftAnswer(
        account_id=ids.encode(ids.ACCOUNT, account.id),
        overdraft=body.overdraft,
        debt=before.debt,
        as_of=now,
    )
