"""Credits set aside before the work and spent after it: hold, capture, release [F7]."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self

import msgspec
from fastapi import Query, Response
from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import RowMapping

from api.dependencies import AccountCall, BillingCall, MemberCall
from api.driving import nudged
from api.idempotency import JSON, REPLAYED_HEADER, LedgerKey
from api.pagination import Page, Paging, paginate
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Credits, Instant, Text, left_out
from billing.core import clock, ids
from billing.core.errors import PaymentRequired
from billing.core.matter import of_account
from billing.core.money import show_decimal
from billing.credits import service, store
from billing.credits.holds import LIFETIME, CaptureOrder, HoldOrder
from billing.credits.schemas import Capture, Hold, StoredHold
from billing.credits.tables import credit_holds

router = new_router("credits")

MAX_HOLD_SECONDS: Final = 30 * 86_400
Status = Literal["open", "captured", "released", "lapsed"]
Scope = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.:-]{0,63}$")]
Word = Annotated[str, StringConstraints(max_length=255)]


class HoldBody(Body):
    """How many credits to set aside, what for, and until when (15 minutes unless said)."""

    amount: Credits
    expires_in_seconds: Annotated[int, Field(strict=True, ge=1, le=MAX_HOLD_SECONDS)] | None = None
    expires_at: Instant | None = None
    scope: Scope | None = None
    paid_only: Annotated[bool, Field(strict=True)] = False
    reason: Text = "hold"
    subject: Text | None = None

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise ValueError("give expires_at or expires_in_seconds, not both")
        return self


class CaptureBody(Body):
    """What was really used: all of the hold when left out; `detail` is kept with the entry."""

    amount: Credits | None = None
    reason: Text = "capture"
    detail: Annotated[dict[Text, Word], Field(max_length=32)] = Field(
        default_factory=dict, examples=[{"model": "gpt-4", "unit_price": "0.002"}]
    )


class HoldAnswer(Answer):
    """Credits set aside; a hold ends once: captured, released, or lapsed at its instant."""

    hold_id: str
    status: Status
    amount: Credits
    captured: Credits
    scope: str | None
    paid_only: bool
    reason: str
    subject: str | None
    created_at: datetime
    expires_at: datetime
    resolved_at: datetime | None

    @classmethod
    def of(cls, hold: StoredHold) -> Self:
        """The hold as callers see it."""
        known = hold.model_dump(include=cls.model_fields.keys() - {"hold_id"})
        return cls(hold_id=ids.encode(ids.HOLD, hold.id), **known)


class CaptureAnswer(Answer):
    """A hold that was spent; what was not captured went back to its lots."""

    hold_id: str
    transaction_id: str
    captured: Credits
    released: Credits
    balance: Credits


def made(hold: Hold, order: HoldOrder) -> bytes:
    """The `HoldAnswer` of the hold that an order led to."""
    return msgspec.json.encode(
        {
            "hold_id": ids.encode(ids.HOLD, hold.hold_id),
            "status": hold.status,
            "amount": show_decimal(hold.amount),
            "captured": show_decimal(hold.captured),
            "scope": order.scope,
            "paid_only": order.paid_only,
            "reason": order.reason,
            "subject": order.subject,
            "created_at": hold.created_at,
            "expires_at": hold.expires_at,
            "resolved_at": hold.resolved_at,
        }
    )


def taken(capture: Capture) -> bytes:
    """The `CaptureAnswer` of a capture."""
    return msgspec.json.encode(
        {
            "hold_id": ids.encode(ids.HOLD, capture.hold_id),
            "transaction_id": ids.encode(ids.TRANSACTION, capture.transaction_id),
            "captured": show_decimal(capture.captured),
            "released": show_decimal(capture.released),
            "balance": show_decimal(capture.balance),
        }
    )


_ENDS = ("HOLD_NOT_FOUND", "HOLD_RESOLVED", "MERCHANT_NOT_FOUND")


@router.post(
    "/billing/credits/holds",
    response_model=HoldAnswer,
    status_code=201,
    responses=responses(
        "INSUFFICIENT_CREDITS", "INVALID_AMOUNT", "INVALID_EXPIRY", "MERCHANT_NOT_FOUND",
        "IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REUSED",
    ),
)  # fmt: skip
async def create_hold(body: HoldBody, call: BillingCall, key: LedgerKey) -> Response:
    """Set credits aside in burn order: nobody else spends them until the hold ends.

    The same `Idempotency-Key` and body answer the first hold, as it stands by then. A 402 with
    `top_up` says that credits are being bought: try again soon.
    """
    seconds = body.expires_in_seconds
    order = HoldOrder(
        account_id=call.account.id,
        amount=body.amount,
        key=key,
        reason=body.reason,
        expires_at=body.expires_at,
        lifetime=LIFETIME if seconds is None else timedelta(seconds=seconds),
        scope=body.scope,
        paid_only=body.paid_only,
        subject=body.subject,
    )
    try:
        hold = await call.services.holding.hold(order)
    except PaymentRequired as refusal:
        if refusal.fields.get("top_up"):
            await nudged(call, of_account(call.account.id))
        raise
    if hold.top_up:
        await nudged(call, of_account(call.account.id))
    return _answer(made(hold, order), 201, replayed=hold.replayed)


@router.get("/billing/credits/holds", responses=responses("INVALID_CURSOR"))
async def list_holds(
    call: MemberCall, paging: Paging, status: Annotated[Status | None, Query()] = None
) -> Page[HoldAnswer]:
    """The account's holds, newest first; a hold past its end reads as lapsed."""
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account.id)
        query = store.holds(call.account.id, now, status)
        return await paginate(connection, query, (credit_holds.c.id,), paging, _hold)


@router.get("/billing/credits/holds/{hold_id}", responses=responses("HOLD_NOT_FOUND"))
async def read_hold(hold_id: str, call: MemberCall) -> HoldAnswer:
    """One hold as it stands now."""
    return await _read(call, hold_id)


@router.post(
    "/billing/credits/holds/{hold_id}/capture",
    response_model=CaptureAnswer,
    responses=responses(*_ENDS, "HOLD_EXCEEDED", "INVALID_AMOUNT"),
)
async def capture_hold(
    hold_id: str, body: Annotated[CaptureBody, left_out(CaptureBody)], call: BillingCall
) -> Response:
    """Spend a hold, or the part of it that was used; the rest is free again, for good.

    The same amount again answers the first capture: it needs no key.
    """
    order = CaptureOrder(
        account_id=call.account.id,
        hold_id=ids.decode(ids.HOLD, hold_id),
        amount=body.amount,
        reason=body.reason,
        detail=dict(body.detail),
    )
    capture = await call.services.holding.capture(order)
    return _answer(taken(capture), 200, replayed=capture.replayed)


@router.post("/billing/credits/holds/{hold_id}/release", responses=responses(*_ENDS))
async def release_hold(hold_id: str, call: BillingCall) -> HoldAnswer:
    """Give a hold up; a second call answers the first."""
    async with call.transaction() as connection:
        await service.release(
            connection, account_id=call.account.id, hold_id=ids.decode(ids.HOLD, hold_id)
        )
    return await _read(call, hold_id)


async def _read(call: AccountCall, hold_id: str) -> HoldAnswer:
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account.id)
        found = await store.hold(connection, ids.decode(ids.HOLD, hold_id), now)
    return HoldAnswer.of(found)


def _hold(row: RowMapping) -> HoldAnswer:
    return HoldAnswer.of(StoredHold.model_validate(dict(row)))


def _answer(body: bytes, status: int, *, replayed: bool) -> Response:
    headers = {REPLAYED_HEADER: "true"} if replayed else None
    return Response(body, status, headers=headers, media_type=JSON)
