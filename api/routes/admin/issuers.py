"""The sellers that issue invoices, for operators."""

import base64
import binascii
from datetime import date
from typing import Annotated, Any, Final

from pydantic import Field, StrictBool

from api.answers.pagination import Page, as_page
from api.answers.problems import responses
from api.answers.public_ids import encoded
from api.answers.schemas import Answer, Body, CountryCode, KeyPath
from api.calls import Call
from api.dependencies import AdminCall
from api.routes.addresses import Line
from api.routes.base import new_router
from billing.core import clock, ids
from billing.core.errors import Invalid
from billing.money.documents import rules
from billing.money.documents.press import Unprintable
from billing.money.documents.schemas import Printed
from billing.platform.accounts import issuers

router = new_router("issuers")

_PICTURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
MOST_LOGO_BYTES: Final = 200_000


class IssuerAddress(Body):
    """The seller's address, as its documents show it."""

    line1: Line
    line2: Line | None = None
    city: Line
    state: Line | None = None
    postal_code: Line | None = None
    country: CountryCode


class IssuerBody(Body):
    """All fields of a seller. A logo that is left out stays; null removes it.

    `is_default` that is left out stays, too.
    """

    name: Line = Field(description="The seller's name on its documents")
    address: IssuerAddress = Field(description="The seller's address on its documents")
    tax_ids: Annotated[tuple[Line, ...], Field(max_length=5, examples=[["VAT DE123456789"]])] = (
        Field((), description="The seller's tax ids as its documents show them")
    )
    email: Line | None = Field(None, description="The seller's e-mail address on its documents")
    footer: Line | None = Field(None, description="A line below each page")
    logo: Annotated[str, Field(max_length=2 * MOST_LOGO_BYTES)] | None = Field(
        None, description="A PNG or JPEG of at most 200,000 bytes, in base64"
    )
    is_default: StrictBool | None = Field(
        None,
        description="The seller for accounts that name none; to end that, make another the default",
    )


class IssuerAnswer(Answer):
    """A seller."""

    issuer_id: Annotated[str, encoded(ids.ISSUER)] = Field(validation_alias="id")
    key: str = Field(description="The key of the seller")
    name: str = Field(description="The seller's name on its documents")
    address: dict[str, str] = Field(description="The seller's address on its documents")
    tax_ids: tuple[str, ...]
    email: str | None = Field(description="The seller's e-mail address on its documents")
    footer: str | None = Field(description="A line below each page; null: none")
    logo: str | None = Field(description="SHA-256 of the picture")
    is_default: bool = Field(description="True for the seller of accounts that name none")


@router.get("/admin/issuers", responses=responses())
async def list_issuers(call: AdminCall) -> Page[IssuerAnswer]:
    """Every seller."""
    async with call.database.operator() as connection:
        return as_page([IssuerAnswer.of(one) for one in await issuers.listed(connection)])


@router.put(
    "/admin/issuers/{key}",
    responses=responses("INVALID_LOGO", "ISSUER_IS_DEFAULT", "DOCUMENT_UNAVAILABLE"),
)
async def put_issuer(key: KeyPath, body: IssuerBody, call: AdminCall) -> IssuerAnswer:
    """Add or change a seller, for invoices numbered from now on."""
    fields: dict[str, Any] = body.model_dump(exclude={"logo"})
    if body.is_default is None:
        del fields["is_default"]
    fields["address"] = body.address.model_dump(exclude_none=True)
    picture = await _checked_logo(call, body.logo) if body.logo is not None else None
    async with call.database.operator() as connection:
        if picture is not None:
            fields["logo"] = await issuers.keep_logo(connection, picture)
        elif "logo" in body.model_fields_set:
            fields["logo"] = None
        written = await issuers.put(connection, key, fields, clock.real_now())
    return IssuerAnswer.of(written)


async def _checked_logo(call: Call, text: str) -> bytes:
    """Return the picture after a document was printed with it.

    Errors: INVALID_LOGO; DOCUMENT_UNAVAILABLE if too much waits to be printed.
    """
    try:
        picture = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Invalid("INVALID_LOGO", "a logo must be a PNG or JPEG in base64") from error
    if len(picture) > MOST_LOGO_BYTES or not picture.startswith(_PICTURES):
        raise Invalid("INVALID_LOGO")
    sample = rules.sample(date(2026, 1, 1))
    try:
        await call.services.press.render(Printed(content=sample, logo=picture))
    except Unprintable as error:
        raise Invalid("INVALID_LOGO", f"the logo cannot be printed: {error.__cause__}") from error
    return picture
