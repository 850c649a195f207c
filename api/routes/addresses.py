"""Billing addresses of the account; the default one decides the tax of its invoices."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import AfterValidator, Field, StrictBool, model_validator

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId, AddressId, row_id
from api.answers.schemas import Answer, Body, CountryCode, Text, optional_body
from api.dependencies import BillingCall, MemberCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import NoCardNumber
from api.routes.base import new_router
from api.tax_rates import until_asked, want_rates
from api.user_scope import only_user
from billing.core import clock, ids
from billing.money.addresses import service, store
from billing.money.addresses.tables import billing_addresses

router = new_router("addresses")

# Characters that break a line of a document or turn its direction.
_BREAKING: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
# Persian and Indian scripts need these to join and separate letters.
_JOINERS: Final = "\u200c\u200d"
_REQUIRED: Final = ("line1", "city", "country", "is_default")


def _one_line(text: str) -> str:
    if any(unicodedata.category(one) in _BREAKING and one not in _JOINERS for one in text):
        raise ValueError("must be one line without control characters")
    return text


Line = Annotated[Text, AfterValidator(_one_line), NoCardNumber]


class AddressBody(Body):
    """A billing address; `user_id` is the caller's own name of its owner."""

    user_id: Line | None = None
    line1: Line
    line2: Line | None = None
    city: Line
    state: Line | None = Field(
        None,
        description="State, province or region; where regions of the country have taxes of their"
        " own it is required, as its code by ISO 3166-2: ON or CA-ON",
    )
    postal_code: Line | None = None
    country: CountryCode
    is_default: StrictBool = Field(
        False,
        description="True makes it the account's default, which decides the tax; the first address"
        " always is",
    )


class AddressChangeBody(Body):
    """The fields to change; those left out stay, null clears one."""

    user_id: Line | None = None
    line1: Line | None = None
    line2: Line | None = None
    city: Line | None = None
    state: Line | None = Field(None, description="State, province or region, as for a new address")
    postal_code: Line | None = None
    country: CountryCode | None = None
    is_default: Literal[True] | None = Field(
        None, description="Makes it the default; to undo this, make another one the default"
    )

    @model_validator(mode="after")
    def _it_stays_an_address(self) -> Self:
        for name in _REQUIRED:
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class AddressAnswer(Answer):
    """A billing address."""

    address_id: AddressId = Field(validation_alias="id")
    user: AccountId = Field(validation_alias="account_id")
    user_id: str | None
    line1: str
    line2: str | None
    city: str
    state: str | None
    postal_code: str | None
    country: str
    is_default: bool = Field(
        description="True for the account's default address, which decides the tax"
    )
    created_at: datetime
    updated_at: datetime


class RemovedAddressAnswer(Answer):
    """A removed address."""

    address_id: str
    deleted: bool = Field(True, description="Always true")


@router.get("/billing/addresses", responses=responses("INVALID_CURSOR"))
async def list_addresses(call: MemberCall, paging: Paging) -> Page[AddressAnswer]:
    """The account's billing addresses, newest first; a member sees none of another user."""
    keys = (billing_addresses.c.created_at, billing_addresses.c.id)
    async with call.transaction() as connection:
        query = store.listing(call.account.id, only_user(call))
        return await paginate(connection, query, keys, paging, AddressAnswer.of)


@router.post(
    "/billing/addresses",
    response_model=AddressAnswer,
    status_code=201,
    responses=responses("ADDRESS_LIMIT", "INVALID_REGION", *KEYED),
)
async def create_address(body: AddressBody, call: BillingCall, once: OptionalKey) -> Response:
    """Add a billing address; the account's first one always becomes the default."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            fields: dict[str, Any] = body.model_dump()
            added = await service.add(connection, call.account.id, claim.resource_id, fields, at)
            asking = await want_rates(call, connection, call.account.id, at)
        await until_asked(call, asking)
        return claim.answer(201, AddressAnswer.of(added))


@router.get(
    "/billing/addresses/{address_id}",
    responses=responses("ADDRESS_NOT_FOUND"),
)
async def read_address(address_id: str, call: MemberCall) -> AddressAnswer:
    """One billing address; a member gets 404 for that of another user."""
    async with call.transaction() as connection:
        found = await service.get(connection, call.account.id, _decode(address_id), only_user(call))
    return AddressAnswer.of(found)


@router.patch(
    "/billing/addresses/{address_id}",
    response_model=AddressAnswer,
    responses=responses("ADDRESS_NOT_FOUND", "INVALID_REGION", *KEYED),
)
async def change_address(
    address_id: str,
    body: Annotated[AddressChangeBody, optional_body(AddressChangeBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Change an address for future invoices; invoices already sent keep theirs."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            fields = body.model_dump(exclude_unset=True)
            changed = await service.change(
                connection, call.account.id, _decode(address_id), fields, at
            )
            asking = await want_rates(call, connection, call.account.id, at)
            await claim.keep(connection, 200, AddressAnswer.of(changed))
        await until_asked(call, asking)
        return claim.answer(200, AddressAnswer.of(changed))


@router.delete(
    "/billing/addresses/{address_id}",
    response_model=RemovedAddressAnswer,
    responses=responses("ADDRESS_NOT_FOUND", "INVALID_REGION", *KEYED),
)
async def delete_address(address_id: str, call: BillingCall, once: OptionalKey) -> Response:
    """Remove an address; if it was the default, the newest that may decide the tax becomes it."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            gone = await service.remove(connection, call.account.id, _decode(address_id), at)
            asking = await want_rates(call, connection, call.account.id, at)
            removed = RemovedAddressAnswer(address_id=ids.encode(ids.ADDRESS, gone.id))
            await claim.keep(connection, 200, removed)
        await until_asked(call, asking)
        return claim.answer(200, removed)


def _decode(name: str) -> UUID:
    return row_id(ids.ADDRESS, name)
