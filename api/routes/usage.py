"""Usage recorded and billed, one at a time or a thousand at once [G1-G4]; quoted, and settled."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from fastapi import Header
from fastapi.responses import Response
from pydantic import Field, model_validator

from api import usage_rows
from api.auth import MEMBER
from api.charging import charge_now
from api.dependencies import (
    AccountCall,
    Call,
    MemberCall,
    OperatorGate,
)
from api.idempotency import REPLAYED_HEADER, valid_key
from api.members import user_of
from api.problem_codes import CODES
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Credits, Instant, Text
from billing.budgets import service as budgets
from billing.budgets.rules import BUDGET_ID, broken
from billing.charges import service as charges
from billing.core import clock, ids
from billing.core.errors import BillingError, Conflict, Invalid, NotFound
from billing.core.errors import PaymentRequired as Short
from billing.core.money import show_decimal
from billing.products.schemas import ServiceType
from billing.quotas import service as quotas
from billing.rating.schemas import Method
from billing.usage import rules, service
from billing.usage.schemas import Kind, Recorded, Status, Use

from fastapi import Depends  # isort: skip

router = new_router("usage")

RECORD = "usg"
REFUSALS = (
    "PRODUCT_PRICING_NOT_FOUND", "METER_NOT_FOUND", "INSUFFICIENT_CREDITS", "QUOTA_EXCEEDED",
    "BUDGET_EXCEEDED", "NOT_INCLUDED", "PAYMENT_CHARGE_NOT_OFFERED", "EVENT_TOO_OLD",
    "EVENT_IN_FUTURE", "HOLD_NOT_FOUND", "HOLD_RESOLVED", "HOLD_EXCEEDED",
)  # fmt: skip
REUSED = "this event_id (or Idempotency-Key) was recorded with another body"
Quantity = Annotated[Credits, Field(gt=0)]
BatchCall = Annotated[Call, Depends(OperatorGate(MEMBER))]


class UseBody(Body):
    """One use. `product_id` prices it; else `service_type` or `feature_type` say what is counted.

    With `event_id` (else the Idempotency-Key) the same use is never counted twice. With `hold_id`
    that hold pays: what the use costs is captured from it, and the rest of it is free again.
    """

    usage_amount: Quantity
    user_id: Text | None = None
    organization_id: Text | None = None
    session_id: Text | None = None
    request_id: Text | None = None
    event_id: Text | None = None
    product_id: Text | None = None
    service_type: ServiceType | None = None
    feature_type: Text | None = None
    operation: Text | None = None
    model: Text | None = None
    billing_method: Method | None = None
    on_insufficient: Literal["reject", "defer"] = "reject"
    occurred_at: Instant | None = None
    usage_details: dict[str, Any] | None = None
    hold_id: Text | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.product_id is None and self.service_type is None and self.feature_type is None:
            raise ValueError("name a product_id, a service_type or a feature_type")
        if self.hold_id and not usage_rows.alone(self.billing_method, self.on_insufficient):
            raise ValueError(usage_rows.HOLD_PAYS)
        return self


class UseAnswer(Answer):
    """A use as it was recorded and billed."""

    success: Literal[True] = True
    billing_id: str
    usage_record_id: str
    billing_status: Status
    billing_method: Method
    meter: str
    unit_price: Credits
    total_cost: Credits
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool


def answer_of(done: Recorded) -> bytes:
    """A `UseAnswer` of what was recorded; it needs no check, and is made very often."""
    return msgspec.json.encode(
        {
            "success": True,
            "billing_id": ids.encode(rules.BILLING_ID, done.id),
            "usage_record_id": ids.encode(RECORD, done.id),
            "billing_status": done.status,
            "billing_method": done.method,
            "meter": done.meter,
            "unit_price": show_decimal(done.unit_price),
            "total_cost": show_decimal(done.total),
            "currency": done.currency,
            "is_free_tier": done.is_free,
            "is_included_in_subscription": done.is_included,
        }
    )


@router.post(
    "/usage/record",
    status_code=201,
    response_model=UseAnswer,
    responses=responses(
        "MERCHANT_NOT_FOUND",
        "IDEMPOTENCY_KEY_INVALID",
        "IDEMPOTENCY_KEY_REQUIRED",
        "IDEMPOTENCY_KEY_REUSED",
        "TEMPORAL_UNAVAILABLE",
        "PRICING_UNAVAILABLE",
        *REFUSALS,
    ),
)
async def record_usage(
    body: UseBody,
    call: MemberCall,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Record one use: rated, counted against plan and quotas, and paid, in one transaction.

    With `payment_charge` a saved card pays at once: `billing_status` says whether it did. It needs
    the role billing, and an `event_id` or Idempotency-Key. A repeated event answers its first
    result with `Idempotent-Replayed: true`.
    """
    use = _use(body, call, valid_key(idempotency_key))
    await call.services.prices.need(call.account, body.product_id, body.service_type)
    if body.billing_method == charges.METHOD:
        done = await charge_now(call, use)
    else:
        done = await call.services.recorder.one(use)
    if done.verdict not in ("recorded", "duplicate"):
        raise await _refusal(done, use, call)
    headers = {REPLAYED_HEADER: "true"} if done.verdict == "duplicate" else None
    return Response(answer_of(done), 201, headers=headers, media_type="application/json")


def _use(body: UseBody, call: AccountCall, key: str | None) -> Use:
    return Use(
        account_id=call.account.id,
        kind=Kind(
            body.product_id, body.service_type, body.feature_type, body.operation, body.model,
            body.billing_method, body.on_insufficient == "defer",
        ),
        amount=f"{body.usage_amount:f}",
        event_id=body.event_id or key,
        at=body.occurred_at,
        user_id=user_of(body.user_id, call),
        organization_id=body.organization_id,
        session_id=body.session_id,
        request_id=body.request_id,
        detail=usage_rows.details(body.usage_details),
        hold_id=_hold(body.hold_id),
    )  # fmt: skip


def _hold(named: str | None) -> UUID | None:
    if named is None:
        return None
    known = ids.parse(ids.HOLD, named)
    if known is None:
        raise NotFound("HOLD_NOT_FOUND", CODES["HOLD_NOT_FOUND"].detail)
    return known


def words_of(done: Recorded) -> tuple[str, str]:
    """The code and sentence of a use that was not recorded."""
    if done.verdict == "conflict":
        return "IDEMPOTENCY_KEY_REUSED", REUSED
    return done.verdict, CODES[done.verdict].detail


async def _refusal(done: Recorded, use: Use, call: AccountCall) -> BillingError:
    """Why a use was refused, with the figures behind it."""
    code, detail = words_of(done)
    if code == "INSUFFICIENT_CREDITS":
        required, available = done.required or Decimal(0), done.available or Decimal(0)
        return Short(
            code,
            service.NO_BALANCE,
            required=show_decimal(required),
            available=show_decimal(available),
        )
    if code == "QUOTA_EXCEEDED":
        return await _over_quota(use, call)
    if code == "BUDGET_EXCEEDED":
        return await _over_budget(done, use, call)
    if code == "HOLD_RESOLVED":
        return Conflict(code, f"the hold was {done.status}", hold_status=done.status)
    if code == "HOLD_EXCEEDED":
        return _over_hold(done)
    if code in ("NOT_INCLUDED", "PAYMENT_CHARGE_NOT_OFFERED"):
        return Conflict(code, detail)
    if code in ("PRODUCT_PRICING_NOT_FOUND", "METER_NOT_FOUND", "HOLD_NOT_FOUND"):
        return NotFound(code, detail)
    return Invalid(code, detail)


def _over_hold(done: Recorded) -> BillingError:
    return Invalid(
        "HOLD_EXCEEDED",
        "the use costs more than was held; nothing was recorded",
        required=show_decimal(done.required or Decimal(0)),
        held=show_decimal(done.available or Decimal(0)),
    )


async def _over_quota(use: Use, call: AccountCall) -> BillingError:
    asked = quotas.Asked(
        amount=Decimal(use.amount),
        user_id=use.user_id,
        organization_id=use.organization_id,
        product_id=use.kind.product_id,
        service_type=use.kind.service_type,
        feature_type=use.kind.feature_type,
    )
    async with call.transaction() as connection:
        decision = await quotas.check(connection, call.account.id, asked)
        now = await clock.now(connection, call.account.id)
    return Conflict(
        "QUOTA_EXCEEDED",
        CODES["QUOTA_EXCEEDED"].detail,
        status=429,
        retry_after=_wait(decision.resets_at, now),
        limit=show_decimal(decision.limit) if decision.limit is not None else None,
        used=show_decimal(decision.used),
        requested=show_decimal(decision.requested),
        resets_at=decision.resets_at.isoformat() if decision.resets_at else None,
        refused_by=decision.refused_by,
    )


async def _over_budget(done: Recorded, use: Use, call: AccountCall) -> BillingError:
    async with call.transaction() as connection:
        found, now = await budgets.standing(connection, call.account.id)
    at_once = done.method == "payment_charge"  # on no invoice to come, so on no budget for it
    total = Decimal(0) if at_once else done.total
    budget = broken(found, done.meter or "", Decimal(use.amount), total, done.currency)
    code, detail = words_of(done)
    if budget is None:  # somebody has just raised or removed it
        return Conflict(code, detail, status=429, retry_after=1)
    return Conflict(
        code,
        detail,
        status=429,
        retry_after=_wait(budget.window_end, now),
        budget_id=ids.encode(BUDGET_ID, budget.id),
        limit=show_decimal(budget.limit_amount),
        used=show_decimal(budget.used),
        resets_at=budget.window_end.isoformat(),
    )


def _wait(resets_at: datetime | None, now: datetime) -> int:
    """Seconds until a limit is free again; an hour where nobody can say."""
    return max(1, int((resets_at - now).total_seconds()) + 1) if resets_at else 3600
