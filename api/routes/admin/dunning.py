"""Dunning for operators: the invoices in dunning, and the commands on a case."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

from fastapi import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.case_answers import AttemptAnswer, CaseAnswer, CaseStatus
from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import (
    PaymentMethodName,
    payment_method_row,
    row_id,
)
from api.answers.schemas import Body, OneWord, optional_body
from api.calls import Call, account_filter
from api.dependencies import AdminCall
from api.idempotency import Once, OptionalKey, RequiredKey
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from api.workflow_calls import free_halted, need_temporal, wait_until_done
from billing.core import clock, ids
from billing.matters.schemas import Matter
from billing.money.dunning import store
from billing.money.dunning.rules import MAX_EXTENSION_DAYS
from billing.money.dunning.schemas import DunningCase
from billing.money.dunning.tables import dunning_cases
from billing.money.invoice_requests import card, recovery
from billing.money.payments import store as payment_store

router = new_router("dunning")

_CODES: Final = (
    "DUNNING_CASE_NOT_FOUND", "DUNNING_CASE_CLOSED", "TEMPORAL_UNAVAILABLE", *KEYED,
)  # fmt: skip
_COMMANDED: Final = responses(*_CODES)


@dataclass(frozen=True)
class CommandContext:
    """The context of a command: one transaction, one case, the account's current time."""

    connection: AsyncConnection
    case: DunningCase
    at: datetime
    suffix: str
    """Equal for each repeat of the request."""
    again: bool
    """True if an earlier try of the same request may have done it."""


class CaseReasonBody(Body):
    """The reason, for the audit trail."""

    reason: FreeText | None = Field(None, description="For the audit trail")


OptionalReason = Annotated[CaseReasonBody, optional_body(CaseReasonBody)]


class RetryBody(Body):
    """The card to try; the default card when left out."""

    payment_method_id: PaymentMethodName | None = Field(
        None, description="The card to try; null: the account's default"
    )


class ExtendCaseBody(Body):
    """The number of days by which the coming slots and the final action move."""

    days: Annotated[int, Field(strict=True, ge=1, le=MAX_EXTENSION_DAYS)] = Field(
        description="Days by which the next try and all that follows move"
    )
    reason: FreeText | None = Field(None, description="For the audit trail")


class ForgiveBody(Body):
    """The reason for forgiving the debt; it is on the credit note."""

    reason: FreeText = Field(description="For the audit trail and the credit note")


class CaseDetail(CaseAnswer):
    """The case with all its attempts, oldest first."""

    attempts: list[AttemptAnswer] = Field(description="All tries of cards, oldest first")


@router.get("/admin/dunning", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_dunning_cases(
    call: AdminCall, paging: Paging, status: CaseStatus | None = None, account_id: OneWord = None
) -> Page[CaseAnswer]:
    """All cases, newest first."""
    keys = (dunning_cases.c.opened_at, dunning_cases.c.id)
    async with call.database.operator() as connection:
        wanted = await account_filter(connection, account_id)
        query = store.listing(status=status, account_id=wanted)
        page = await paginate(connection, query, keys, paging, DunningCase.model_validate)
        shown = await CaseAnswer.read_all(connection, page.data)
    return Page(data=shown, pagination=page.pagination)


@router.get("/admin/dunning/{dunning_case_id}", responses=responses("DUNNING_CASE_NOT_FOUND"))
async def read_dunning_case(dunning_case_id: str, call: AdminCall) -> CaseDetail:
    """One case with its attempts."""
    return await _detail(call, row_id(ids.DUNNING_CASE, dunning_case_id))


@router.post(
    "/admin/dunning/{dunning_case_id}/pause", response_model=CaseDetail, responses=_COMMANDED
)
async def pause_dunning(
    dunning_case_id: str, body: OptionalReason, call: AdminCall, once: OptionalKey
) -> Response:
    """Stop the slots and the final action until the case is resumed; a new card is still tried."""
    pause = partial(recovery.pause, reason=body.reason or "")
    return await _command_case(call, once, dunning_case_id, pause)


@router.post(
    "/admin/dunning/{dunning_case_id}/resume", response_model=CaseDetail, responses=_COMMANDED
)
async def resume_dunning(
    dunning_case_id: str, body: OptionalReason, call: AdminCall, once: OptionalKey
) -> Response:
    """Resume the slots: a missed one runs now, the next ones keep their distance."""
    resume = partial(recovery.resume, reason=body.reason or "")
    return await _command_case(call, once, dunning_case_id, resume)


@router.post(
    "/admin/dunning/{dunning_case_id}/extend",
    response_model=CaseDetail,
    responses=responses("INVALID_EXTENSION", "IDEMPOTENCY_KEY_REQUIRED", *_CODES),
)
async def extend_dunning(
    dunning_case_id: str, body: ExtendCaseBody, call: AdminCall, once: RequiredKey
) -> Response:
    """Move the coming slots and the final action later, by 90 days at most in all; once per key."""

    async def extend(order: CommandContext) -> Matter:
        return await recovery.extend_once(
            order.connection,
            order.case,
            body.days,
            order.at,
            suffix=order.suffix,
            reason=body.reason or "",
        )

    return await _command(call, once, dunning_case_id, extend)


@router.post(
    "/admin/dunning/{dunning_case_id}/retry-now",
    response_model=CaseDetail,
    responses={
        202: {"model": CaseDetail, "description": "Still undecided; retry with the same key"},
        **responses(
            "INVOICE_ALREADY_PAID", "INVOICE_STATE", "PAYMENT_PENDING", "PAYMENT_METHOD_NOT_FOUND",
            "PAYMENT_METHOD_REQUIRED", "CARD_DECLINED", "CURRENCY_NOT_CHARGED", "AMOUNT_TOO_LARGE",
            *_CODES,
        ),
    },
)  # fmt: skip
async def retry_dunning_now(
    dunning_case_id: str,
    body: Annotated[RetryBody, optional_body(RetryBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """Try a card now; no slot is used or moved. The last entry of `attempts` has the result."""

    async def retry(order: CommandContext) -> card.TryRequest:
        return await card.retry_now(
            order.connection,
            order.case.invoice_id,
            order.at,
            suffix=order.suffix,
            method_id=payment_method_row(body.payment_method_id),
        )

    return await _command(call, once, dunning_case_id, retry, tries=True)


@router.post(
    "/admin/dunning/{dunning_case_id}/forgive",
    response_model=CaseDetail,
    responses=responses("INVOICE_STATE", "PAYMENT_PENDING", *_CODES),
)
async def forgive_dunning(
    dunning_case_id: str, body: ForgiveBody, call: AdminCall, once: OptionalKey
) -> Response:
    """Give up the debt with a credit note; the subscription continues as if it were paid."""

    async def forgive(order: CommandContext) -> Matter:
        return await recovery.forgive(
            order.connection, order.case.invoice_id, body.reason, again=order.again
        )

    return await _command(call, once, dunning_case_id, forgive)


async def _command_case(
    call: Call,
    once: Once,
    name: str,
    verb: Callable[[AsyncConnection, UUID], Awaitable[Matter]],
) -> Response:
    """Apply a command that needs only the case."""
    return await _command(call, once, name, lambda order: verb(order.connection, order.case.id))


async def _command(
    call: Call,
    once: Once,
    name: str,
    verb: Callable[[CommandContext], Awaitable[Matter | card.TryRequest]],
    *,
    tries: bool = False,
) -> Response:
    """Apply the command to the rows, and answer the case after its workflow has run.

    `tries`: the command tries a card.
    """
    case_id = row_id(ids.DUNNING_CASE, name)
    async with call.database.operator() as connection:
        case = await store.get(connection, case_id)
    await call.refuse_other_shop(case.account_id)
    async with once.claim(call, case.account_id) as claim:
        await need_temporal(call, claim)
        if tries:
            await free_halted(call, case.account_id)
        async with call.database.tenant(case.account_id) as connection:
            at = await clock.now(connection, case.account_id)
            order = CommandContext(connection, case, at, claim.suffix, claim.resumed)
            done = await verb(order)
            # A try is found again by the key, decided by then.
            if claim.is_keyed and isinstance(done, Matter):
                now = await store.get(connection, case_id)
                await claim.keep(connection, 200, await _shown(connection, now))
        if isinstance(done, Matter):
            await wait_until_done(call, done)
            return claim.answer(200, await _detail(call, case_id))
        await wait_until_done(call, done.matter)
        is_decided = await _is_decided(call, case, done)
        return claim.answer(200 if is_decided else 202, await _detail(call, case_id))


async def _is_decided(call: Call, case: DunningCase, asked: card.TryRequest) -> bool:
    async with call.database.tenant(case.account_id) as connection:
        attempt = await payment_store.find_attempt(connection, asked.attempt)
        return await card.is_decided(connection, case.invoice_id, attempt)


async def _detail(call: Call, case_id: UUID) -> CaseDetail:
    async with call.database.operator() as connection:
        case = await store.get(connection, case_id)
        shown = await _shown(connection, case)
    await call.refuse_other_shop(case.account_id)
    return shown


async def _shown(connection: AsyncConnection, case: DunningCase) -> CaseDetail:
    shown = await CaseAnswer.read(connection, case)
    tries = await payment_store.attempts_of(connection, case.invoice_id)
    return CaseDetail(**shown.model_dump(), attempts=[AttemptAnswer.of(one) for one in tries])
