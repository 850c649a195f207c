"""PDF documents: an invoice, its receipt, its credit notes [I4, I5]."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Response

from api.answers.problems import responses
from api.answers.public_ids import row_id
from api.calls import AccountCall
from api.dependencies import MemberCall
from api.routes.base import new_router
from api.user_scope import is_member, readable_invoice
from billing.core import ids
from billing.money.documents import service
from billing.money.documents.schemas import Document

router = new_router("invoices")

Known = Annotated[
    str | None, Header(alias="If-None-Match", description="The ETag of the copy you have")
]


class Pdf(Response):
    """A PDF document."""

    media_type = "application/pdf"


def answers(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of a route that returns a PDF."""
    return {
        200: {
            "description": "The PDF; equal bytes have an equal ETag",
            "content": {Pdf.media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "Your copy is the current one"},
        **responses("INVOICE_NOT_FOUND", "DOCUMENT_UNAVAILABLE", *codes),
    }


@router.get(
    "/billing/invoices/{invoice_id}/pdf",
    response_class=Pdf,
    responses=answers("INVOICE_STATE"),
)
async def download_invoice(invoice_id: str, call: MemberCall, known: Known = None) -> Response:
    """The invoice as it was finalized, or a pro-forma of a draft [I4, I5]."""
    return await download(call, row_id(ids.INVOICE, invoice_id), "invoice", invoice_id, known)


@router.get(
    "/billing/invoices/{invoice_id}/receipt",
    response_class=Pdf,
    responses=answers("INVOICE_STATE"),
)
async def download_receipt(invoice_id: str, call: MemberCall, known: Known = None) -> Response:
    """The receipt of an invoice that was paid with money."""
    name = f"{invoice_id}-receipt"
    return await download(call, row_id(ids.INVOICE, invoice_id), "receipt", name, known)


async def download(
    call: AccountCall, invoice_id: UUID, wanted: service.Wanted, name: str, known: str | None
) -> Response:
    """Return the document as a file of that name, or 304 if the caller's copy is the current."""
    if is_member(call):
        async with call.transaction() as connection:
            await readable_invoice(connection, call, invoice_id)
    press = call.services.press
    found = await service.document(call.transaction, press, invoice_id, wanted)
    # Only the caller may cache it, and revalidates it each time.
    headers = {"ETag": f'"{found.etag}"', "Cache-Control": "private, no-cache"}
    if known is not None and _is_known(found, known):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'inline; filename="{name}.pdf"'
    return Pdf(found.content, headers=headers)


def _is_known(found: Document, tags: str) -> bool:
    """True if one of the tags of `If-None-Match` is the document's."""
    names = (tag.strip().removeprefix("W/").strip('"') for tag in tags.split(","))
    return any(name in ("*", found.etag) for name in names)
