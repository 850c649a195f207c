"""Operators' commands on invoices: void, mark uncollectible, credit, record money from outside."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.problems import KEYED, responses
from api.answers.public_ids import row_id
from api.answers.schemas import Body, Day, Text
from api.calls import Call
from api.dependencies import AdminCall
from api.idempotency import Claim, Once, OptionalKey, RequiredKey
from api.requests.card_numbers import NoCardNumber
from api.routes.base import new_router
from api.routes.invoice_answers import InvoiceDetail
from api.workflow_calls import need_temporal, wait_until_done
from billing.catalog.plans.schemas import Currency, PositiveMinor
from billing.core import clock, ids
from billing.matters.schemas import Matter
from billing.money.invoice_requests import operating
from billing.money.invoice_requests.corrections import Destination
from billing.money.invoice_requests.operating import CreditedLine, RecordedMoney
from billing.money.invoices import store
from billing.money.invoices.schemas import Invoice
from billing.money.payments import store as payment_store
from billing.money.purchases import store as purchase_store

router = new_router("invoice administration")

_CODES: Final = ("INVOICE_NOT_FOUND", "INVOICE_STATE", "TEMPORAL_UNAVAILABLE", *KEYED)
Reference = Annotated[Text, NoCardNumber]
Verb = Callable[[AsyncConnection, Claim, UUID, datetime], Awaitable[Matter]]


class ReasonBody(Body):
    """The reason, for the audit and the credit note."""

    reason: Reference = Field(description="For the audit trail and the credit note")


class RecordedBody(Body):
    """Money received outside of the service, in minor units."""

    amount_cents: PositiveMinor = Field(description="What came, in minor units")
    currency: Currency | None = Field(
        None, description="ISO 4217; if it is sent, it must be that of the invoice"
    )
    payment_method: Reference = Field("bank_transfer", description="How it came, in your own words")
    reference: Reference = Field(
        examples=["TRX-2027-0004711"], description="The reference of the transfer"
    )
    received_on: Day | None = Field(None, description="The day it was received; by default today")


class CreditedLineBody(Body):
    """The part of one line to credit; lines are counted from 1."""

    position: Annotated[int, Field(strict=True, gt=0, le=100_000)] = Field(
        description="The number of the line, from 1"
    )
    amount_cents: PositiveMinor = Field(
        description="What to credit of the line, with tax, in minor units"
    )


class CreditNoteBody(Body):
    """A part of the invoice to credit: an amount, or parts of its lines."""

    amount_cents: PositiveMinor | None = Field(
        None, description="What to credit, with tax, in minor units; instead of `lines`"
    )
    lines: Annotated[tuple[CreditedLineBody, ...], Field(max_length=100)] = Field(
        (), description="Parts of lines to credit; instead of `amount_cents`"
    )
    reason: Reference = Field(description="For the audit trail and the credit note")
    to: Destination = Field(
        "debt",
        description="`debt`: reduces what is owed; what was paid already goes to the money balance;"
        " `balance`: all of it goes to the money balance, as far as it was paid",
    )

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if (self.amount_cents is None) == (not self.lines):
            raise ValueError("set either amount_cents or lines")
        if len({one.position for one in self.lines}) < len(self.lines):
            raise ValueError("a line is named twice")
        return self


@router.post(
    "/admin/invoices/{invoice_id}/void",
    response_model=InvoiceDetail,
    responses=responses("PAYMENT_PENDING", *_CODES),
)
async def void_invoice(
    invoice_id: str, body: ReasonBody, call: AdminCall, once: OptionalKey
) -> Response:
    """Void an open or uncollectible invoice by a credit note; what was paid goes to the money
    balance.
    """

    async def void(connection: AsyncConnection, claim: Claim, subject: UUID, _: datetime) -> Matter:
        return await operating.void(connection, subject, body.reason, again=claim.resumed)

    return await _command(call, once, invoice_id, void)


@router.post(
    "/admin/invoices/{invoice_id}/mark-uncollectible",
    response_model=InvoiceDetail,
    responses=responses("PAYMENT_PENDING", *_CODES),
)
async def mark_invoice_uncollectible(
    invoice_id: str, body: ReasonBody, call: AdminCall, once: OptionalKey
) -> Response:
    """Mark an open invoice as uncollectible: its dunning ends, and it may still be paid by any
    flow.
    """

    async def mark(connection: AsyncConnection, claim: Claim, subject: UUID, _: datetime) -> Matter:
        return await operating.mark_uncollectible(
            connection, subject, body.reason, again=claim.resumed
        )

    return await _command(call, once, invoice_id, mark)


@router.post(
    "/admin/invoices/{invoice_id}/record-payment",
    response_model=InvoiceDetail,
    responses={
        202: {"model": InvoiceDetail, "description": "Not booked yet; retry with the same key"},
        **responses(
            "INVOICE_ALREADY_PAID", "CURRENCY_MISMATCH", "PAYMENT_REFERENCE_USED", "INVALID_DATE",
            "FOUR_EYES", "IDEMPOTENCY_KEY_REQUIRED", *_CODES,
        ),
    },
)  # fmt: skip
async def record_payment(
    invoice_id: str, body: RecordedBody, call: AdminCall, once: RequiredKey
) -> Response:
    """Record money received outside of the service. A part payment leaves the rest open; an excess
    goes to the money balance.
    """
    money = RecordedMoney(
        amount_minor=body.amount_cents, currency=body.currency, method=body.payment_method,
        reference=body.reference, received_on=body.received_on,
    )  # fmt: skip

    async def record(
        connection: AsyncConnection, claim: Claim, subject: UUID, at: datetime
    ) -> Matter:
        return await operating.record_payment(
            connection, subject, money,
            payment_id=claim.resource_id, four_eyes=call.settings.manual_four_eyes, at=at,
        )  # fmt: skip

    return await _command(call, once, invoice_id, record)


@router.post(
    "/admin/invoices/{invoice_id}/credit-note",
    response_model=InvoiceDetail,
    responses=responses(
        "CREDIT_NOTE_TOO_LARGE", "INVALID_AMOUNT", "PAYMENT_PENDING", "IDEMPOTENCY_KEY_REQUIRED",
        *_CODES,
    ),
)  # fmt: skip
async def write_credit_note(
    invoice_id: str, body: CreditNoteBody, call: AdminCall, once: RequiredKey
) -> Response:
    """Credit part of a numbered invoice, paid or not."""
    lines = [
        CreditedLine(position=one.position, amount_minor=one.amount_cents) for one in body.lines
    ]

    async def credit(
        connection: AsyncConnection, claim: Claim, subject: UUID, _: datetime
    ) -> Matter:
        return await operating.credit(
            connection, subject,
            amount_minor=body.amount_cents, lines=lines, reason=body.reason, to=body.to,
            suffix=ids.encode(ids.NOTE, claim.resource_id),
        )  # fmt: skip

    return await _command(call, once, invoice_id, credit)


async def _command(call: Call, once: Once, name: str, verb: Verb) -> Response:
    """Carry out the command, and return the invoice once its matter has handled it; 202 while money
    that it records is not booked.
    """
    subject = row_id(ids.INVOICE, name)
    async with call.database.operator() as connection:
        account_id = (await store.get(connection, subject)).account_id
    await call.refuse_other_shop(account_id)
    async with once.claim(call, account_id) as claim:
        await need_temporal(call, claim)
        async with call.database.tenant(account_id) as connection:
            at = await clock.now(connection, account_id)
            matter = await verb(connection, claim, subject, at)
        await wait_until_done(call, matter)
        async with call.database.operator() as connection:
            invoice = await _paid(connection, subject)
            shown = await InvoiceDetail.read(connection, invoice, call.services.pay_links)
            recorded = await payment_store.find(connection, claim.resource_id)
        waits = recorded is not None and recorded.is_unbooked
        return claim.answer(202 if waits else 200, shown)


async def _paid(connection: AsyncConnection, invoice_id: UUID) -> Invoice:
    """Return the invoice; of a purchase that was paid after its end, the second one."""
    invoice = await store.get(connection, invoice_id)
    if invoice.status != "void" or invoice.purchase_id is None:
        return invoice
    purchase = await purchase_store.get(connection, invoice.purchase_id)
    return await store.get(connection, purchase.invoice_id)
