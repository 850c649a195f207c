"""Dunning for operators: the invoices in recovery, and the commands on a case."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AdminCall, Call, account_named
from api.idempotency import Once, OptionalKey
from api.pagination import Page, Paging, paginate
from api.problems import KEYED, responses
from api.routes.base import new_router
from api.schemas import Answer, Body, PaymentMethodId, Shown, Text, optional_body
from api.workflow_calls import need_temporal, wait_until_done
from billing.core import clock, ids
from billing.core.errors import NotFound
from billing.matters.agenda import Step
from billing.matters.schemas import Matter
from billing.money.dunning import store
from billing.money.dunning.rules import MAX_EXTENSION_DAYS
from billing.money.dunning.schemas import DunningCase
from billing.money.dunning.tables import dunning_cases
from billing.money.invoice_requests import card, recovery
from billing.money.payments import store as payments

router = new_router("dunning")

CaseStatus = Literal["open", "paused", "recovered", "exhausted", "forgiven", "canceled"]
_CODES: Final = (
    "DUNNING_CASE_NOT_FOUND", "DUNNING_CASE_CLOSED", "TEMPORAL_UNAVAILABLE", *KEYED,
)  # fmt: skip
_STEERED: Final = responses(*_CODES)


@dataclass(frozen=True)
class Order:
    """The context of a command: one transaction, one case, the account's current time."""

    connection: AsyncConnection
    case: DunningCase
    at: datetime
    suffix: str
    """The same for each repeat of the request."""


class ReasonBody(Body):
    """The reason, for the audit trail."""

    reason: Text | None = None


class RetryBody(Body):
    """The card to try; the default card when left out."""

    payment_method_id: Annotated[str, StringConstraints(max_length=40)] | None = None


class ExtendBody(Body):
    """The number of days by which the coming slots and the final action move."""

    days: Annotated[int, Field(strict=True, ge=1, le=MAX_EXTENSION_DAYS)]
    reason: Text | None = None


class ForgiveBody(Body):
    """The reason to give up the debt; it is on the credit note."""

    reason: Text


class AttemptAnswer(Shown):
    """One attempt; `slot` is null for the extra attempt of a new card or of retry-now."""

    status: str
    slot: int | None
    payment_method_id: PaymentMethodId | None
    decline_code: str | None
    decline_class: str | None
    message: str | None
    started_at: datetime
    finished_at: datetime | None


class CaseAnswer(Answer):
    """The recovery of one invoice; `next_step` and `next_at` say what happens next by itself."""

    dunning_case_id: str
    account_id: str
    invoice_id: str
    subscription_id: str | None
    status: CaseStatus
    slot_days: list[int]
    slots_used: int
    final_action: str
    extended_days: int
    next_step: str | None
    next_at: datetime | None
    opened_at: datetime
    paused_at: datetime | None
    closed_at: datetime | None
    close_reason: str | None

    @classmethod
    def of(cls, case: DunningCase, plan: Step | None) -> Self:
        """The case with the next step of its invoice."""
        known = case.model_dump(include=cls.model_fields.keys() - _SHOWN_ANEW)
        subscription = case.subscription_id
        return cls(
            **known,
            dunning_case_id=ids.encode(ids.DUNNING_CASE, case.id),
            account_id=ids.encode(ids.ACCOUNT, case.account_id),
            invoice_id=ids.encode(ids.INVOICE, case.invoice_id),
            subscription_id=ids.encode(ids.SUBSCRIPTION, subscription) if subscription else None,
            slot_days=list(case.terms.days),
            slots_used=case.last_slot + 1,
            final_action=case.terms.final_action,
            next_step=plan.words if plan else None,
            next_at=plan.due if plan else None,
        )


_SHOWN_ANEW: Final = {
    "dunning_case_id", "account_id", "invoice_id", "subscription_id", "slot_days", "slots_used",
    "final_action", "next_step", "next_at",
}  # fmt: skip


class CaseDetail(CaseAnswer):
    """The case with all its attempts, oldest first."""

    attempts: list[AttemptAnswer]


@router.get("/admin/dunning", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_dunning_cases(
    call: AdminCall,
    paging: Paging,
    status: Annotated[CaseStatus | None, Query()] = None,
    account_id: Annotated[str | None, Query(max_length=255)] = None,
) -> Page[CaseAnswer]:
    """All cases, newest first."""
    keys = (dunning_cases.c.opened_at, dunning_cases.c.id)
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id) if account_id else None
        query = store.listing(status=status, account_id=account.id if account else None)
        page = await paginate(
            connection, query, keys, paging, lambda row: DunningCase.model_validate(dict(row))
        )
        shown = [
            CaseAnswer.of(case, await recovery.next_step(connection, case)) for case in page.data
        ]
    return Page(data=shown, pagination=page.pagination)


@router.get("/admin/dunning/{dunning_case_id}", responses=responses("DUNNING_CASE_NOT_FOUND"))
async def read_dunning_case(dunning_case_id: str, call: AdminCall) -> CaseDetail:
    """One case with its attempts."""
    return await _detail(call, _decode(dunning_case_id))


@router.post(
    "/admin/dunning/{dunning_case_id}/pause", response_model=CaseDetail, responses=_STEERED
)
async def pause_dunning(
    dunning_case_id: str,
    body: Annotated[ReasonBody, optional_body(ReasonBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """Stop the slots and the final action until the case is resumed; a new card is still tried."""

    async def pause(order: Order) -> Matter:
        return await recovery.pause(order.connection, order.case.id, reason=body.reason or "")

    return await _steer(call, once, dunning_case_id, pause)


@router.post(
    "/admin/dunning/{dunning_case_id}/resume", response_model=CaseDetail, responses=_STEERED
)
async def resume_dunning(
    dunning_case_id: str,
    body: Annotated[ReasonBody, optional_body(ReasonBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """Resume the slots: a missed one runs now, the next ones keep their distance."""

    async def resume(order: Order) -> Matter:
        return await recovery.resume(order.connection, order.case.id, reason=body.reason or "")

    return await _steer(call, once, dunning_case_id, resume)


@router.post(
    "/admin/dunning/{dunning_case_id}/extend",
    response_model=CaseDetail,
    responses=responses("INVALID_EXTENSION", *_CODES),
)
async def extend_dunning(
    dunning_case_id: str, body: ExtendBody, call: AdminCall, once: OptionalKey
) -> Response:
    """Move the coming slots and the final action later, by 90 days at most in all."""

    async def extend(order: Order) -> Matter:
        return await recovery.extend(
            order.connection, order.case.id, body.days, reason=body.reason or ""
        )

    return await _steer(call, once, dunning_case_id, extend)


@router.post(
    "/admin/dunning/{dunning_case_id}/retry-now",
    response_model=CaseDetail,
    responses=responses(
        "INVOICE_ALREADY_PAID", "INVOICE_STATE", "PAYMENT_PENDING", "PAYMENT_METHOD_NOT_FOUND",
        "PAYMENT_METHOD_REQUIRED", "PAYMENT_METHOD_BARRED", *_CODES,
    ),
)  # fmt: skip
async def retry_dunning_now(
    dunning_case_id: str,
    body: Annotated[RetryBody, optional_body(RetryBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """Try a card now; no slot is used or moved. The last entry of `attempts` has the result."""
    method = body.payment_method_id

    async def retry(order: Order) -> Matter:
        asked = await card.retry_now(
            order.connection,
            order.case.invoice_id,
            order.at,
            suffix=order.suffix,
            method_id=ids.decode(ids.PAYMENT_METHOD, method) if method else None,
        )
        return asked.matter

    return await _steer(call, once, dunning_case_id, retry)


@router.post(
    "/admin/dunning/{dunning_case_id}/forgive",
    response_model=CaseDetail,
    responses=responses("INVOICE_STATE", *_CODES),
)
async def forgive_dunning(
    dunning_case_id: str, body: ForgiveBody, call: AdminCall, once: OptionalKey
) -> Response:
    """Give up the debt with a credit note; the subscription continues as if it were paid."""

    async def forgive(order: Order) -> Matter:
        return await recovery.forgive(order.connection, order.case.invoice_id, body.reason)

    return await _steer(call, once, dunning_case_id, forgive)


async def _steer(
    call: Call, once: Once, name: str, verb: Callable[[Order], Awaitable[Matter]]
) -> Response:
    """Apply the command to the rows, and answer the case after its workflow has run."""
    await need_temporal(call)
    case_id = _decode(name)
    async with call.database.operator() as connection:
        case = await store.get(connection, case_id)
    async with once.claim(call) as claim:
        async with call.database.tenant(case.account_id) as connection:
            at = await clock.now(connection, case.account_id)
            suffix = ids.encode("key", claim.resource_id)
            matter = await verb(Order(connection, case, at, suffix))
        await wait_until_done(call, matter)
        return claim.answer(200, await _detail(call, case_id))


async def _detail(call: Call, case_id: UUID) -> CaseDetail:
    async with call.database.operator() as connection:
        case = await store.get(connection, case_id)
        shown = CaseAnswer.of(case, await recovery.next_step(connection, case))
        tries = await payments.attempts_of(connection, case.invoice_id)
    return CaseDetail(**shown.model_dump(), attempts=[AttemptAnswer.of(one) for one in tries])


def _decode(name: str) -> UUID:
    found = ids.parse(ids.DUNNING_CASE, name)
    if found is None:
        raise NotFound("DUNNING_CASE_NOT_FOUND", "no such dunning case")
    return found
