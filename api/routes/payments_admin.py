"""Payments for operators: what awaits approval, and the decision on money sent by hand [J6]."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AdminCall, Call, account_named
from api.driving import need_temporal, settled
from api.idempotency import OptionalKey
from api.pagination import Page, Paging, paginate
from api.problems import KEYED, responses
from api.routes.base import new_router
from api.routes.payments import PaymentAnswer, StatusFilter, decode_payment
from api.schemas import Body, Currency, Minor, Text, left_out
from billing.core import clock
from billing.invoices import store as invoices
from billing.payments import manual, store
from billing.payments.schemas import Payment
from billing.payments.tables import payments

router = new_router("payment administration")


class ApproveBody(Body):
    """What arrived, in minor units; left out, what the payer said was sent."""

    amount_minor: Annotated[Minor, Field(gt=0)] | None = None
    currency: Currency | None = None


class RejectBody(Body):
    """Why not; the payer is told."""

    reason: Text


class DecidedAnswer(PaymentAnswer):
    """A payment that was decided on, and what it left of its invoice."""

    submitted_by: str | None
    decided_by: str | None
    invoice_status: str
    amount_remaining: int

    @classmethod
    async def read(cls, connection: AsyncConnection, payment_id: UUID) -> Self:
        """The payment as it stands, read in the caller's transaction."""
        payment = await store.get(connection, payment_id)
        invoice = await invoices.get(connection, payment.invoice_id)
        shown = PaymentAnswer.of(payment, invoice.subscription_id)
        return cls(
            **shown.model_dump(),
            submitted_by=payment.submitted_by,
            decided_by=payment.decided_by,
            invoice_status=invoice.status,
            amount_remaining=invoice.outstanding_minor,
        )


@router.get("/admin/payments", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_all_payments(
    call: AdminCall,
    paging: Paging,
    status: Annotated[StatusFilter | None, Query()] = None,
    account_id: Annotated[str | None, Query(max_length=255)] = None,
) -> Page[PaymentAnswer]:
    """Payments of all accounts, newest first; `status=pending_approval` is the desk's pile."""
    wanted = "canceled" if status == "cancelled" else status
    keys = (payments.c.created_at, payments.c.id)
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id) if account_id else None
        query = store.listing(account.id if account else None, statuses=(wanted,) if wanted else ())
        return await paginate(connection, query, keys, paging, PaymentAnswer.of_row)


@router.post(
    "/admin/payments/{payment_id}/approve",
    response_model=DecidedAnswer,
    responses=responses(
        "PAYMENT_NOT_FOUND", "PAYMENT_STATE", "PAYMENT_REFERENCE_USED", "CURRENCY_MISMATCH",
        "FOUR_EYES", "TEMPORAL_UNAVAILABLE", *KEYED,
    ),
)  # fmt: skip
async def approve_payment(
    payment_id: str,
    body: Annotated[ApproveBody, left_out(ApproveBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """The money is there: it is booked on its invoice, and what it buys is delivered."""
    payment, at = await _find(call, payment_id)
    async with once.claim(call) as claim:
        async with call.database.tenant(payment.account_id) as connection:
            _, matter = await manual.approve(
                connection,
                payment.id,
                received_minor=body.amount_minor,
                currency=body.currency,
                four_eyes=call.settings.manual_four_eyes,
                at=at,
            )
        await settled(call, matter)
        return claim.answer(200, await _decided(call, payment))


@router.post(
    "/admin/payments/{payment_id}/reject",
    response_model=DecidedAnswer,
    responses=responses(
        "PAYMENT_NOT_FOUND", "PAYMENT_STATE", "FOUR_EYES", "TEMPORAL_UNAVAILABLE", *KEYED
    ),
)
async def reject_payment(
    payment_id: str, body: RejectBody, call: AdminCall, once: OptionalKey
) -> Response:
    """The money is not there: the payment has failed, and the invoice is owed as before."""
    payment, at = await _find(call, payment_id)
    async with once.claim(call) as claim:
        async with call.database.tenant(payment.account_id) as connection:
            _, matter = await manual.reject(
                connection,
                payment.id,
                body.reason,
                four_eyes=call.settings.manual_four_eyes,
                at=at,
            )
        await settled(call, matter)
        return claim.answer(200, await _decided(call, payment))


async def _find(call: Call, name: str) -> tuple[Payment, datetime]:
    """The payment, and its account's now."""
    await need_temporal(call)
    async with call.database.operator() as connection:
        payment = await store.get(connection, decode_payment(name))
        return payment, await clock.now(connection, payment.account_id)


async def _decided(call: Call, payment: Payment) -> DecidedAnswer:
    async with call.database.operator() as connection:
        return await DecidedAnswer.read(connection, payment.id)
