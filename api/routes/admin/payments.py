"""Payments, for operators: those that await approval, and the decision on manual ones [J6]."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import row_id
from api.answers.schemas import Body, OneWord, optional_body
from api.calls import Call, account_filter
from api.dependencies import AdminCall
from api.idempotency import Once, OptionalKey
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from api.routes.payments import PaymentAnswer, StatusFilter, statuses_of
from api.workflow_calls import need_temporal, wait_until_done
from billing.catalog.plans.schemas import Currency, PositiveMinor
from billing.core import clock, ids
from billing.matters.schemas import Matter
from billing.money.invoice_requests import manual
from billing.money.invoices import store as invoice_store
from billing.money.payments import event_commands, store
from billing.money.payments.schemas import Payment
from billing.money.payments.tables import payments

router = new_router("payment administration")


class ApproveBody(Body):
    """The amount that arrived, in minor units; by default the amount the payer stated.

    It is required if the stated amount is more than the invoice still owes. `amount_minor` is an
    older name of `amount_cents`.
    """

    amount_cents: PositiveMinor | None = Field(
        None, description="What arrived, in minor units; by default what the payer stated"
    )
    amount_minor: PositiveMinor | None = Field(None, description="Older name of `amount_cents`")
    currency: Currency | None = Field(
        None, description="ISO 4217; if it is sent, it must be that of the invoice"
    )

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if self.amount_cents is not None and self.amount_minor is not None:
            raise ValueError("set amount_cents only: amount_minor is its older name")
        return self


class RejectBody(Body):
    """The reason; the payer is notified of it."""

    reason: FreeText = Field(description="Told to the payer")


class OperatorsPayment(PaymentAnswer):
    """A payment as operators see it.

    `invoice_voided_at` is when the invoice that asked for it was voided: by an operator, or because
    the purchase or first payment ended unpaid.
    """

    invoice_voided_at: datetime | None

    @classmethod
    def of_row(cls, row: Any, **more: Any) -> Self:
        """Show a row of `store.listing`, with further fields."""
        return super().of_row(row, invoice_voided_at=row["invoice_voided_at"], **more)


class DecidedAnswer(OperatorsPayment):
    """A payment after the decision, and what is still owed on its invoice."""

    submitted_by: str | None
    decided_by: str | None
    invoice_status: str
    amount_remaining: int

    @classmethod
    async def read(cls, connection: AsyncConnection, payment_id: UUID) -> Self:
        """The payment as it stands, read in the caller's transaction."""
        row = await store.listed(connection, payment_id)
        invoice = await invoice_store.get(connection, row["invoice_id"])
        return cls.of_row(
            row, invoice_status=invoice.status, amount_remaining=invoice.outstanding_minor
        )


class CheckedAnswer(DecidedAnswer):
    """A payment after its provider was queried; `asked_at` is null while there is no answer."""

    asked_at: datetime | None = Field(
        description="When the provider answered; null: it has not yet"
    )

    @classmethod
    async def read(cls, connection: AsyncConnection, payment_id: UUID) -> Self:
        """Return the payment with the time of the answer."""
        found = await DecidedAnswer.read(connection, payment_id)
        asked_at = await event_commands.answered_at(connection, payment_id)
        return cls(**found.model_dump(), asked_at=asked_at)


@router.get("/admin/payments", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_all_payments(
    call: AdminCall,
    paging: Paging,
    status: StatusFilter | None = None,
    account_id: OneWord = None,
    undecided: bool = False,
) -> Page[OperatorsPayment]:
    """Payments of all accounts, newest first.

    `undecided=true` lists manual payments without a decision: those that await it
    (`pending_approval`), and those whose wait has ended (`canceled`) but whose money may still
    come.
    """
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        # Without an account sort by id alone: ids sort by time, and have the index.
        keys = (payments.c.created_at, payments.c.id)[0 if account else 1 :]
        query = store.listing(account, statuses=statuses_of(status), undecided=undecided)
        return await paginate(connection, query, keys, paging, OperatorsPayment.of_row)


@router.post(
    "/admin/payments/{payment_id}/approve",
    response_model=DecidedAnswer,
    responses={
        202: {"model": DecidedAnswer, "description": "Approved, and not booked yet"},
        **responses(
            "PAYMENT_NOT_FOUND", "PAYMENT_STATE", "PAYMENT_REFERENCE_USED", "CURRENCY_MISMATCH",
            "AMOUNT_REQUIRED", "FOUR_EYES", "TEMPORAL_UNAVAILABLE", *KEYED,
        ),
    },
)  # fmt: skip
async def approve_payment(
    payment_id: str,
    body: Annotated[ApproveBody, optional_body(ApproveBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """Confirm that the money arrived: it is booked on the invoice, and the goods are delivered."""
    received = body.amount_cents or body.amount_minor
    approve = partial(manual.approve, received_minor=received, currency=body.currency)
    return await _decide(call, once, payment_id, approve)


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
    """State that no money arrived: the payment fails, and the invoice stays owed."""
    return await _decide(call, once, payment_id, partial(manual.reject, reason=body.reason))


@router.post(
    "/admin/payments/{payment_id}/check",
    responses={
        202: {"model": CheckedAnswer, "description": "The provider has not answered yet"},
        **responses("PAYMENT_NOT_FOUND", "PAYMENT_STATE", "TEMPORAL_UNAVAILABLE"),
    },
)
async def check_payment(payment_id: str, call: AdminCall, response: Response) -> CheckedAnswer:
    """Query the provider for the payment's current status and record the result; once its money is
    booked, for refunds and disputes of it. A halted matter resumes.
    """
    await need_temporal(call)
    async with call.database.operator() as connection:
        payment = await store.get(connection, row_id(ids.PAYMENT, payment_id))
    await call.refuse_other_shop(payment.account_id)
    async with call.database.operator() as connection:
        matter = await event_commands.order_check(connection, payment.id, clock.real_now())
    if matter is not None:
        await wait_until_done(call, matter)
    async with call.database.operator() as connection:
        checked = await CheckedAnswer.read(connection, payment.id)
    if matter is not None and checked.asked_at is None:
        response.status_code = 202
    return checked


async def _decide(
    call: Call, once: Once, name: str, decision: Callable[..., Awaitable[tuple[Payment, Matter]]]
) -> Response:
    """Decide on the payment, and return it once its workflow has handled the decision; 202 while
    approved money is not booked.
    """
    async with call.database.operator() as connection:
        payment = await store.get(connection, row_id(ids.PAYMENT, name))
        at = await clock.now(connection, payment.account_id)
    await call.refuse_other_shop(payment.account_id)
    four_eyes = call.settings.manual_four_eyes
    async with once.claim(call, payment.account_id) as claim:
        await need_temporal(call, claim)
        async with call.database.tenant(payment.account_id) as connection:
            _, matter = await decision(
                connection, payment.id, four_eyes=four_eyes, at=at, again=claim.resumed
            )
        await wait_until_done(call, matter)
        async with call.database.operator() as connection:
            decided = await store.get(connection, payment.id)
            shown = await DecidedAnswer.read(connection, payment.id)
        return claim.answer(202 if decided.is_unbooked else 200, shown)
