"""Invoices: what the account owes and why, and the payment of an open one."""

from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, model_validator

from api.answers.card_refusals import not_opened, refusal
from api.answers.pagination import Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import PaymentMethodName, payment_method_row, row_id
from api.answers.schemas import Body, Url, optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import Claim, RequiredKey
from api.pay.pay_actions import demand_offered
from api.pay.payer_secrets import for_caller
from api.pay.return_pages import check_return
from api.routes.base import new_router
from api.routes.credit_notes import known_notes
from api.routes.invoice_answers import InvoiceDetail, InvoicePage, show_row
from api.user_scope import is_member, readable_invoice
from api.workflow_calls import free_halted, need_temporal, wait_until_done
from billing.core import clock, ids
from billing.money.invoice_requests import card
from billing.money.invoices import store
from billing.money.invoices.schemas import InvoiceStatus
from billing.money.invoices.tables import invoices
from billing.money.payments import store as payment_store
from billing.money.payments.rules import PROVIDER_REFUSED

router = new_router("invoices")

# `pending` is another word for an open invoice [I7, X6].
StatusFilter = Literal[InvoiceStatus, "pending"]
# A payment for an outdated amount, or on another flow, is canceled first; the second try opens
# a new one.
_OFFERS: Final = 2


class PayBody(Body):
    """Pay with a stored card (the default or a named one), or in the browser: a card, or PayPal."""

    payment_method: Literal["saved_card", "card", "paypal"] = Field(
        "saved_card",
        description="`saved_card`: charged now; `card`: one that the payer confirms; `paypal`: on"
        " PayPal's page",
    )
    payment_method_id: PaymentMethodName | None = Field(
        None,
        description="The saved card; null: the account's default. With `payment_method: saved_card`"
        " only",
    )
    return_url: Url | None = Field(
        None,
        description="The page to which the payer comes back from PayPal's; null: a page of this"
        " service",
    )

    @model_validator(mode="after")
    def _names_a_stored_card(self) -> Self:
        if self.payment_method_id is not None and self.payment_method != "saved_card":
            raise ValueError("payment_method_id is only allowed with payment_method: saved_card")
        if self.return_url is not None and self.payment_method != "paypal":
            raise ValueError("return_url is only allowed with payment_method: paypal")
        return self


@router.get("/billing/invoices", responses=responses("INVALID_CURSOR"))
async def list_invoices(
    call: MemberCall, paging: Paging, status: StatusFilter | None = None
) -> InvoicePage:
    """The account's invoices, newest first; `pending` means open [I1, I2]."""
    query = store.listing(call.account.id, status=status_of(status), for_member=is_member(call))
    keys = (invoices.c.created_at, invoices.c.id)
    async with call.transaction() as connection:
        return InvoicePage.of_page(await paginate(connection, query, keys, paging, show_row))


@router.get("/billing/invoices/{invoice_id}", responses=responses("INVOICE_NOT_FOUND"))
async def read_invoice(invoice_id: str, call: MemberCall) -> InvoiceDetail:
    """One invoice with its lines, payments, attempts, credit notes and dunning [I3, I8, I9]. Only
    payers see secrets.
    """
    found = await _read(call, row_id(ids.INVOICE, invoice_id))
    return for_caller(call, found.model_copy(update=known_notes(call, found.credit_notes)))


@router.post(
    "/billing/invoices/{invoice_id}/pay",
    response_model=InvoiceDetail,
    responses={
        202: {"model": InvoiceDetail, "description": "Still undecided; retry with the same key"},
        **responses(
            "INVOICE_NOT_FOUND", "INVOICE_ALREADY_PAID", "INVOICE_STATE", "PAYMENT_PENDING",
            "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED", "AMOUNT_TOO_LARGE",
            "CARD_DECLINED", "CURRENCY_NOT_CHARGED", "PLATFORM_ERROR", "PAYMENT_METHOD_NOT_OFFERED",
            "TEMPORAL_UNAVAILABLE", "IDEMPOTENCY_KEY_REQUIRED", *KEYED,
        ),
    },
)  # fmt: skip
async def pay_invoice(
    invoice_id: str,
    body: Annotated[PayBody, optional_body(PayBody)],
    call: BillingCall,
    once: RequiredKey,
) -> Response:
    """Pay an open invoice now [I13, J8]; this also ends past_due and unpaid [C12]."""
    check_return(call, body.return_url)
    subject = row_id(ids.INVOICE, invoice_id)
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        waits: dict[str, Any] = {}
        if body.payment_method != "saved_card":
            await offer(call, subject, body.payment_method, body.return_url)
        elif not await _try(call, claim, subject, body.payment_method_id):
            waits = {"next_action": {"type": "wait"}}
        answer = (await _read(call, subject)).model_copy(update=waits)
        return claim.answer(202 if answer.next_action["type"] == "wait" else 200, answer)


def status_of(wanted: StatusFilter | None) -> InvoiceStatus | None:
    """Return the stored status to list; None for all."""
    return "open" if wanted == "pending" else wanted


async def _read(call: AccountCall, invoice_id: UUID) -> InvoiceDetail:
    async with call.transaction() as connection:
        invoice = await readable_invoice(connection, call, invoice_id)
        return await InvoiceDetail.read(connection, invoice, call.services.pay_links)


async def offer(
    call: AccountCall,
    invoice_id: UUID,
    flow: card.PayersOwn = "card",
    return_url: str | None = None,
) -> None:
    """Open a payment that its payer finishes."""
    await free_halted(call, call.account.id)
    for _ in range(_OFFERS):
        async with call.transaction() as connection:
            live = await payment_store.live(connection, invoice_id)
            if live is None or live.flow != flow:
                await demand_offered(call, connection, flow)
            at = await clock.now(connection, call.account.id)
            matter = await card.offer_payers_own(connection, invoice_id, flow, at, return_url)
        await wait_until_done(call, matter)
        async with call.transaction() as connection:
            live = await payment_store.live(connection, invoice_id)
            newest = live or await payment_store.latest(connection, invoice_id)
        if live is not None and live.flow == flow:
            return
        if newest is not None and newest.failure_code == PROVIDER_REFUSED:
            raise not_opened()


async def _try(call: AccountCall, claim: Claim, invoice_id: UUID, method: str | None) -> bool:
    """Charge a stored card once; False while the result is open. Raises the card's refusal."""
    await free_halted(call, call.account.id)
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        asked = await card.retry_now(
            connection, invoice_id, at, suffix=claim.suffix, method_id=payment_method_row(method)
        )
    await wait_until_done(call, asked.matter)
    async with call.transaction() as connection:
        attempt = await payment_store.find_attempt(connection, asked.attempt)
        is_decided = await card.is_decided(connection, invoice_id, attempt)
    refused = refusal(attempt) if attempt is not None else None
    if refused is not None:
        raise refused
    return is_decided
