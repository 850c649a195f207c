"""Billing details: the customer's texts on its invoices, and where they are sent."""

from typing import Annotated, Final

from fastapi import Response
from pydantic import AfterValidator, Field, StringConstraints

from api.answers.problems import KEYED, responses
from api.answers.public_ids import AddressId, row_id
from api.answers.schemas import Answer, Body, optional_body
from api.dependencies import BillingCall, MemberCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import NoCardNumber
from api.routes.addresses import Line
from api.routes.base import new_router
from api.routes.invoice_answers import CustomFieldAnswer, InvoiceAnswer
from billing.core import clock, ids
from billing.money.billing_details import service, store
from billing.money.billing_details.schemas import BillingDetails, CustomField

router = new_router("addresses")

_ADDRESS: Final = r"^[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+$"


def _no_controls(text: str) -> str:
    if any(not one.isprintable() and one != "\n" for one in text):
        raise ValueError("must not contain control characters")
    return text


Email = Annotated[Line, StringConstraints(pattern=_ADDRESS, max_length=254)]
Memo = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    AfterValidator(_no_controls),
    NoCardNumber,
]
"""A note of a few sentences."""


class CustomFieldBody(Body):
    """A custom field on each invoice."""

    name: Annotated[Line, StringConstraints(max_length=40)] = Field(
        examples=["Cost center"], description="Printed before the value"
    )
    value: Annotated[Line, StringConstraints(max_length=140)] = Field(
        examples=["4711"], description="Printed after the name"
    )


CustomFields = Annotated[tuple[CustomFieldBody, ...], Field(max_length=4)]


class BillingDetailsBody(Body):
    """All billing details; fields that are left out are cleared."""

    legal_name: Line | None = None
    address_id: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="The address on invoices; by default the account's default one"
    )
    billing_email: Email | None = None
    cc_emails: Annotated[tuple[Email, ...], Field(max_length=10)] = ()
    po_number: Line | None = None
    memo: Memo | None = None
    custom_fields: CustomFields = ()


class BillingDetailsAnswer(Answer):
    """The billing details of an account."""

    legal_name: str | None
    address_id: AddressId | None
    billing_email: str | None
    cc_emails: tuple[str, ...]
    po_number: str | None
    memo: str | None
    custom_fields: list[CustomFieldAnswer]


@router.get("/billing/details", responses=responses())
async def read_billing_details(call: MemberCall) -> BillingDetailsAnswer:
    """The texts of the account on its invoices."""
    async with call.transaction() as connection:
        return BillingDetailsAnswer.of(await store.get(connection, call.account.id))


@router.put(
    "/billing/details",
    response_model=BillingDetailsAnswer,
    responses=responses("ADDRESS_NOT_FOUND", *KEYED),
)
async def put_billing_details(
    body: Annotated[BillingDetailsBody, optional_body(BillingDetailsBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Replace the billing details, for invoices numbered from now on; earlier ones keep theirs."""
    address_id = row_id(ids.ADDRESS, body.address_id) if body.address_id is not None else None
    details = BillingDetails(
        address_id=address_id,
        custom_fields=tuple(CustomField(**one.model_dump()) for one in body.custom_fields),
        **body.model_dump(exclude={"address_id", "custom_fields"}),
    )
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            put = await service.put(connection, call.account.id, details, at)
            kept = BillingDetailsAnswer.of(put)
            await claim.keep(connection, 200, kept)
        return claim.answer(200, kept)


class InvoiceWordsBody(Body):
    """The texts to change; those left out stay, null falls back to the billing details."""

    po_number: Line | None = Field(
        None, description="The order number on this invoice; null: that of the billing details"
    )
    memo: Memo | None = Field(
        None, description="The text on this invoice; null: that of the billing details"
    )
    custom_fields: CustomFields | None = Field(
        None, description="The fields on this invoice; null: those of the billing details"
    )


@router.patch(
    "/billing/invoices/{invoice_id}",
    response_model=InvoiceAnswer,
    responses=responses("INVOICE_NOT_FOUND", "INVOICE_STATE", *KEYED),
)
async def change_invoice_words(
    invoice_id: str,
    body: Annotated[InvoiceWordsBody, optional_body(InvoiceWordsBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Set the PO number, memo or custom fields of a draft; a numbered invoice keeps its texts."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            words = body.model_dump(exclude_unset=True)
            changed = await service.reword(connection, row_id(ids.INVOICE, invoice_id), words, at)
            await claim.keep(connection, 200, InvoiceAnswer.of(changed))
        return claim.answer(200, InvoiceAnswer.of(changed))
