"""Holds: credits set aside before the work and spent after it [F7]."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self
from uuid import UUID

import msgspec
from fastapi import Response
from pydantic import Field, StrictBool, StringConstraints, model_validator

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import encoded, row_id
from api.answers.schemas import Answer, Body, Credits, Instant, Text, optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import LedgerKey, SentKey, encoded_answer
from api.requests.card_numbers import FreeText
from api.requests.fast_route import fast
from api.routes.base import new_router
from api.user_scope import only_user
from api.workflow_calls import notify
from billing.core import clock, ids
from billing.core.errors import NotAllowed, NotFound, PaymentRequired, wrong_field
from billing.core.money import show_decimal
from billing.ledger.credits import service, store
from billing.ledger.credits.holds import LIFETIME, MAX_LIFETIME, CaptureOrder, HoldOrder
from billing.ledger.credits.schemas import Capture, Hold
from billing.ledger.credits.tables import credit_holds
from billing.matters.schemas import of_account
from billing.metering.usage import access

router = new_router("credits")

MAX_HOLD_SECONDS: Final = int(MAX_LIFETIME.total_seconds())
Status = Literal["open", "captured", "released", "expired"]
Scope = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.:-]{0,63}$")]
Word = Annotated[str, StringConstraints(max_length=255)]


class HoldBody(Body):
    """Credits to hold, for what, and until when (15 minutes by default)."""

    amount: Credits = Field(description="Credits to hold, rounded to six decimals")
    expires_in_seconds: Annotated[int, Field(strict=True, ge=1, le=MAX_HOLD_SECONDS)] | None = (
        Field(None, description="Seconds until it expires, 30 days at most; 900 by default")
    )
    expires_at: Instant | None = Field(
        None, description="When it expires, within 30 days; instead of `expires_in_seconds`"
    )
    scope: Scope | None = Field(
        None,
        description="Credits for this meter may be held too, and are taken first; null: only"
        " credits for any use",
    )
    paid_only: StrictBool = Field(False, description="True: only credits that were paid for")
    reason: FreeText = Field("hold", description="What it is for; shown with the hold")
    subject: Text | None = Field(None, description="Your own id of what it is for")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise ValueError("set expires_at or expires_in_seconds, not both")
        return self

    def order(self, account_id: UUID, key: str, made_by: str) -> HoldOrder:
        """Return the requested hold."""
        seconds = self.expires_in_seconds
        return HoldOrder(
            account_id=account_id,
            amount=self.amount,
            key=key,
            reason=self.reason,
            expires_at=self.expires_at,
            lifetime=LIFETIME if seconds is None else timedelta(seconds=seconds),
            scope=self.scope,
            paid_only=self.paid_only,
            subject=self.subject,
            made_by=made_by,
        )


class CaptureBody(Body):
    """The amount to spend, by default the whole hold; the ledger entry keeps `detail`."""

    amount: Credits | None = Field(
        None, description="Credits to spend, up to those held; null: all of them"
    )
    reason: FreeText = Field(
        "capture",
        description="What it was for; the ledger shows it, and `GET /usage/logs` as the operation",
    )
    detail: Annotated[dict[Text, Word], Field(max_length=32)] = Field(
        default_factory=dict,
        examples=[{"model": "gpt-4", "unit_price": "0.002"}],
        description="Your own texts for the ledger's entry; `model` is the model that was used",
    )


class HoldAnswer(Answer):
    """A hold; it ends once: captured, released, or expired at `expires_at`."""

    hold_id: Annotated[str, encoded(ids.HOLD)] = Field(validation_alias="id")
    status: Status = Field(
        description="`open`; `captured`: it was spent; `released`: it was freed; `expired`"
    )
    amount: Credits = Field(description="The credits that it holds or held")
    captured: Credits = Field(description="The credits that were spent of it")
    scope: str | None = Field(
        description="The meter whose credits it may hold, too; null: only credits for any use"
    )
    paid_only: bool
    reason: str = Field(description="What it is for")
    subject: str | None = Field(description="Your own id of what it is for; null: none")
    created_at: datetime
    expires_at: datetime = Field(description="When it expires, unless it ends before")
    resolved_at: datetime | None = Field(description="When it ended; null: it is open")


class CaptureAnswer(Answer):
    """A captured hold; the rest went back to its lots."""

    hold_id: str
    transaction_id: str
    captured: Credits = Field(description="The credits that were spent")
    released: Credits = Field(description="The credits that were freed")
    balance: Credits = Field(description="The balance of credits after it")


def hold_answer(hold: Hold, order: HoldOrder) -> bytes:
    """Encode the `HoldAnswer` of a new hold without pydantic, because it is made very often."""
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


def capture_answer(capture: Capture) -> bytes:
    """Encode the `CaptureAnswer` of a capture without pydantic."""
    return msgspec.json.encode(
        {
            "hold_id": ids.encode(ids.HOLD, capture.hold_id),
            "transaction_id": ids.encode(ids.TRANSACTION, capture.transaction_id),
            "captured": show_decimal(capture.captured),
            "released": show_decimal(capture.released),
            "balance": show_decimal(capture.balance),
        }
    )


_ENDS = ("HOLD_NOT_FOUND", "HOLD_RESOLVED")


@router.post(
    "/billing/credits/holds",
    response_model=HoldAnswer,
    status_code=201,
    responses=responses(
        "INSUFFICIENT_CREDITS", "NO_ENTITLEMENT", "INVALID_AMOUNT", "INVALID_EXPIRY",
        "IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REUSED",
    ),
)  # fmt: skip
@fast
async def create_hold(body: HoldBody, call: BillingCall, key: LedgerKey) -> Response:
    """Hold credits in burn order: nothing else can spend them until the hold ends.

    The same `Idempotency-Key` and body return the first hold in its current state. A 402 with the
    field `top_up` means that an automatic purchase of credits is under way: retry soon. A `scope`
    that only a plan can pay for is refused if no plan grants the account anything.
    """
    order = body.order(call.account.id, key, call.caller.subject)
    await _demand_holdable(call, order)
    try:
        hold = await call.services.hold_batcher.hold(order)
    except PaymentRequired as refusal:
        if refusal.fields.get("top_up"):
            await notify(call, of_account(call.account.id))
        raise
    if hold.top_up:
        await notify(call, of_account(call.account.id))
    return encoded_answer(hold_answer(hold, order), 201, replayed=hold.replayed)


@router.get("/billing/credits/holds", responses=responses("INVALID_CURSOR"))
async def list_holds(
    call: MemberCall, paging: Paging, status: Status | None = None
) -> Page[HoldAnswer]:
    """The account's holds, newest first; a hold past `expires_at` has the status expired.

    A member sees only holds that its own `sub` made [A14].
    """
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account.id)
        query = store.holds(call.account.id, now, status, only_user(call))
        return await paginate(connection, query, (credit_holds.c.id,), paging, HoldAnswer.of)


@router.get("/billing/credits/holds/{hold_id}", responses=responses("HOLD_NOT_FOUND"))
async def read_hold(hold_id: str, call: MemberCall) -> HoldAnswer:
    """One hold in its current state; 404 for a member if its own `sub` did not make it."""
    only = only_user(call)
    if only is not None:
        wanted = row_id(ids.HOLD, hold_id)
        async with call.transaction() as connection:
            if not await store.made_by(connection, only, [wanted]):
                raise NotFound("HOLD_NOT_FOUND")
    return await _read(call, hold_id)


@router.post(
    "/billing/credits/holds/{hold_id}/capture",
    response_model=CaptureAnswer,
    responses=responses(*_ENDS, "HOLD_EXCEEDED", "INVALID_AMOUNT", "IDEMPOTENCY_KEY_INVALID"),
)
@fast
async def capture_hold(
    hold_id: str,
    body: Annotated[CaptureBody, optional_body(CaptureBody)],
    call: BillingCall,
    key: SentKey,
) -> Response:
    """Spend a hold or a part of it; the rest is released for good.

    Repeating it with the same amount, reason and detail returns the first capture: no key is
    needed. With another `Idempotency-Key` it is the capture of other work: 409.
    """
    order = CaptureOrder(
        account_id=call.account.id,
        hold_id=row_id(ids.HOLD, hold_id),
        amount=body.amount,
        reason=body.reason,
        detail=dict(body.detail),
        key=key,
    )
    capture = await call.services.hold_batcher.capture(order)
    return encoded_answer(capture_answer(capture), 200, replayed=capture.replayed)


@router.post("/billing/credits/holds/{hold_id}/release", responses=responses(*_ENDS))
async def release_hold(hold_id: str, call: BillingCall) -> HoldAnswer:
    """Release a hold; a second call returns the first result."""
    async with call.transaction() as connection:
        await service.release(
            connection, account_id=call.account.id, hold_id=row_id(ids.HOLD, hold_id)
        )
    return await _read(call, hold_id)


async def _demand_holdable(call: AccountCall, order: HoldOrder) -> None:
    """Refuse an invalid hold. Errors: NO_ENTITLEMENT if only a plan pays, unless its key has a hold
    already; VALIDATION_FAILED if it ends too late.
    """
    if order.scope is None and order.expires_at is None:
        return
    async with call.transaction() as connection:
        if order.scope is not None:
            try:
                await access.demand_for(connection, call.account.id, order.scope)
            except NotAllowed:
                if not await store.is_held(connection, order.key):
                    raise
        now = await clock.now(connection, call.account.id)
    if order.expires_at is not None and order.expires_at - now > MAX_LIFETIME:
        raise wrong_field("expires_at", f"a hold must end within {MAX_LIFETIME.days} days")


async def _read(call: AccountCall, hold_id: str) -> HoldAnswer:
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account.id)
        found = await store.hold(connection, row_id(ids.HOLD, hold_id), now)
    return HoldAnswer.of(found)
