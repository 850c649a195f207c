"""Credit notes: numbered corrections of invoices, as rows and as PDF."""

import re
from datetime import date, datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import InvoiceId, encoded, row_id
from api.answers.schemas import Answer, Credits
from api.calls import Call
from api.dependencies import MemberCall
from api.routes.base import new_router
from api.routes.invoice_documents import Known, Pdf, answers, download
from api.user_scope import is_member, readable_invoice
from billing.core import ids
from billing.core.errors import NotFound
from billing.money.invoices import store
from billing.money.invoices.arrears import NAMED_USE
from billing.money.invoices.schemas import NoteKind
from billing.money.invoices.tables import credit_notes

router = new_router("invoices")


class LineTax(Answer):
    """The share of a tax in a line or a credit note, in minor units; `rate` in percent."""

    jurisdiction: str
    category: str = Field(description="The category of goods that has the rate")
    name: str = Field(description="The name of the tax")
    rate: Credits
    inclusive: bool
    reason: str | None = Field(description="Why the rate is 0; null: it is not")
    amount: int = Field(
        validation_alias="amount_minor", description="The share of the tax, in minor units"
    )


class CreditNoteAnswer(Answer):
    """A correction of a numbered invoice; minor units of `currency`."""

    credit_note_id: Annotated[str, encoded(ids.CREDIT_NOTE)] = Field(validation_alias="id")
    invoice_id: InvoiceId
    number: str = Field(description="The number of the credit note")
    kind: NoteKind = Field(
        description="What it was written for: by an `operator`, a `wrong_price`, a `voided_use`, a"
        " proven VAT id (`reverse_charge`), unused time after a `change` or a cancel (`canceled`),"
        " time that was not served (`unserved`), a `forgiven` debt, the `void` of its invoice, or"
        " money that went back by a `refund` or lost `dispute`",
    )
    reason: str = Field(description="Why it was written, in words")
    amount: int = Field(
        validation_alias="amount_minor",
        description="What it credits, with tax, in minor units of `currency`",
    )
    tax: int = Field(
        validation_alias="tax_minor", description="The tax in it, in minor units of `currency`"
    )
    taxes: list[LineTax] = Field(description="The tax in it by rate")
    currency: str
    issued_on: date
    created_at: datetime


@router.get("/billing/credit-notes", responses=responses("INVALID_CURSOR"))
async def list_credit_notes(call: MemberCall, paging: Paging) -> Page[CreditNoteAnswer]:
    """The account's credit notes, newest first."""
    keys = (credit_notes.c.created_at, credit_notes.c.id)
    async with call.transaction() as connection:
        query = store.credit_notes_listing(call.account.id, for_member=is_member(call))
        return await paginate(connection, query, keys, paging, CreditNoteAnswer.of)


@router.get(
    "/billing/invoices/{invoice_id}/credit-notes",
    responses=responses("INVOICE_NOT_FOUND", "INVALID_CURSOR"),
)
async def list_notes_of_invoice(
    invoice_id: str, call: MemberCall, paging: Paging
) -> Page[CreditNoteAnswer]:
    """The corrections of one invoice, newest first."""
    keys = (credit_notes.c.created_at, credit_notes.c.id)
    async with call.transaction() as connection:
        invoice = await readable_invoice(connection, call, row_id(ids.INVOICE, invoice_id))
        member = is_member(call)
        query = store.credit_notes_listing(call.account.id, invoice.id, for_member=member)
        return await paginate(connection, query, keys, paging, CreditNoteAnswer.of)


@router.get(
    "/billing/credit-notes/{credit_note_id}/pdf",
    response_class=Pdf,
    responses=answers("CREDIT_NOTE_NOT_FOUND"),
)
async def download_credit_note(
    credit_note_id: str, call: MemberCall, known: Known = None
) -> Response:
    """The credit note, addressed as its invoice was."""
    note_id = row_id(ids.CREDIT_NOTE, credit_note_id)
    async with call.transaction() as connection:
        note = await store.find_credit_note(connection, note_id)
    if note is None or (is_member(call) and _names_use(note.reason)):
        raise NotFound("CREDIT_NOTE_NOT_FOUND")
    return await download(call, note.invoice_id, note, credit_note_id, known)


def known_notes(call: Call, notes: list[CreditNoteAnswer]) -> dict[str, list[CreditNoteAnswer]]:
    """Return the `credit_notes` of an invoice; a member gets none that names a single use."""
    found = [one for one in notes if not (is_member(call) and _names_use(one.reason))]
    return {"credit_notes": found}


def _names_use(reason: str) -> bool:
    return re.search(NAMED_USE, reason) is not None
