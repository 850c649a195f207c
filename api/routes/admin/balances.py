"""Corrections of the money balance by operators, with a reason."""

from typing import Annotated

from fastapi import Response
from pydantic import Field

from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId, encoded
from api.answers.schemas import NOT_ZERO, Answer, Body
from api.dependencies import AdminCall
from api.idempotency import RequiredKey
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from billing.catalog.plans.spec import PricedIn
from billing.core import clock, ids
from billing.core.money import MINOR_LIMIT
from billing.money.invoices import balances

router = new_router("balance")


class AdjustBalanceBody(Body):
    """Money to give the customer, or to take if negative, in minor units."""

    amount_cents: Annotated[int, Field(strict=True, gt=-MINOR_LIMIT, lt=MINOR_LIMIT), NOT_ZERO] = (
        Field(description="In minor units: above 0 gives money, below 0 takes it")
    )
    currency: PricedIn | None = Field(
        None, description="ISO 4217; by default the account's currency, else USD"
    )
    reason: FreeText = Field(
        description="Shown to the customer, and in the audit trail and the event"
    )


class AdjustBalanceAnswer(Answer):
    """The adjustment, and the balance after it."""

    adjustment_id: Annotated[str, encoded(ids.ADJUSTMENT)] = Field(validation_alias="id")
    account_id: AccountId
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="In minor units: above 0 it was given, below 0 taken",
    )
    currency: str
    reason: str = Field(description="The operator's reason")
    balance_cents: int = Field(
        description="The money balance after it, in minor units; below 0 the customer owes it"
    )


@router.post(
    "/admin/accounts/{account_id}/balance/adjust",
    response_model=AdjustBalanceAnswer,
    status_code=201,
    responses=responses(
        "MERCHANT_NOT_FOUND", "CURRENCY_MISMATCH", "IDEMPOTENCY_KEY_REQUIRED", *KEYED
    ),
)
async def adjust_money_balance(
    account_id: str, body: AdjustBalanceBody, call: AdminCall, once: RequiredKey
) -> Response:
    """Give or take money, once per key, with a reason for the customer, the audit and the event."""
    account = await call.find_account(account_id)
    async with once.claim(call, account.id) as claim:
        async with call.database.tenant(account.id) as connection:
            entry, minor = await balances.adjust(
                connection,
                account.id,
                adjustment_id=claim.resource_id,
                amount_minor=body.amount_cents,
                currency=body.currency,
                reason=body.reason,
                at=await clock.now(connection, account.id),
            )
        return claim.answer(201, AdjustBalanceAnswer.of(entry, balance_cents=minor))
